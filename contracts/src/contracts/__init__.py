"""What the API and the workers of IssueTracker agree on, and nothing else."""

VERSION = "0.1.0"
"""Of the project: what services tell of themselves. A test compares it with the one in pyproject.toml."""

CONTRACT_VERSION = "1.1.0"
"""Semantic version of this package; every message carries the version that it was written by."""
