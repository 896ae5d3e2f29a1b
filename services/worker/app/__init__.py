"""IssueTracker's Celery worker."""

from contracts.tracing import block_otel_metrics_sdk

block_otel_metrics_sdk()
