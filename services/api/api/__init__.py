"""IssueTracker's HTTP API, and the dispatcher that publishes the ledger's due jobs."""
