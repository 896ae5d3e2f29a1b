"""What the API and the workers of IssueTracker agree on, and nothing else."""

CONTRACT_VERSION = "1.1.0"
"""Semantic version of this package; every message carries the version that it was written by."""
