"""The page at `/`: files that a browser takes as they are."""
