"""Erasures of issues and projects over HTTP. The API stores the request, and workers erase the text."""
