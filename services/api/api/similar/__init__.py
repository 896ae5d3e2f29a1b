"""Issues that resemble an issue."""
