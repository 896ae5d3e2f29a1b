"""Bounds on what an issue may hold; the API refuses what is over, the tables check it again."""

TITLE_MAX = 255
"""Characters."""

DESCRIPTION_MAX = 65_536
"""Characters."""
