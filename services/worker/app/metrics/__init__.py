"""The worker's Prometheus metrics. docs/reference/metrics.md lists them.

The process that commits a transition to the ledger counts it, directly after the commit.
"""
