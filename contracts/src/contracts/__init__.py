"""The messages, tables, names and settings that the API and the workers of IssueTracker share."""

VERSION = "0.1.0"
"""The project's version, which the services report. A test compares it with pyproject.toml."""

CONTRACT_VERSION = "1.1.0"
"""The semantic version of this package. Every message carries the version of its writer."""
