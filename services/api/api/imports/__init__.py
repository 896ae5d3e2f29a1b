"""Imports of issues from files. A file is received, stored as rows, and processed in batches in the background."""
