"""Breaks everything at random while issues flow, and counts what became of each: `make chaos`."""
