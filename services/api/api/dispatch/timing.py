"""Times of the dispatcher, in seconds."""

POLL_S = 1.0
"""Interval of the search for due jobs, and of the importer's search for imports."""
REJECTED_RETRY_S = 30.0
"""Delay before a job that needs a newer worker is offered again."""
REJECTED_TIMEOUT_S = 86_400.0
"""Time until such a job becomes a dead letter."""
