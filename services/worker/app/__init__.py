"""IssueTracker's Celery worker."""
