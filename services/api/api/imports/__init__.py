"""Imports of issues from files: received whole, stored as rows, then done batch by batch beside the dispatcher."""
