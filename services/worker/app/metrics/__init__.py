"""What the worker tells Prometheus; docs/reference/metrics.md lists it.

Who counts a job's attempt or end is the process whose commit wrote it into the ledger, right after that commit.
"""
