"""IssueTracker's HTTP API, and the dispatcher that publishes the ledger's due jobs."""

from contracts.tracing import block_otel_metrics_sdk

block_otel_metrics_sdk()
