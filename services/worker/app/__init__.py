"""IssueTracker's Celery worker."""

from contracts.tracing import spare_the_sdk

spare_the_sdk()
