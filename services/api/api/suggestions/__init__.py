"""Decisions on suggestions over HTTP: accepted or rejected, and stored as feedback."""
