"""IssueTracker's HTTP API, and the dispatcher that publishes the ledger's due jobs."""

from contracts.tracing import spare_the_sdk

spare_the_sdk()
