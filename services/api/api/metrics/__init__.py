"""What an API process tells Prometheus; docs/reference/metrics.md lists it.

Who counts a job's attempt or end is the process whose commit wrote it into the ledger, right after that commit.
"""

from prometheus_client import disable_created_metrics

# When each series began: nobody asks, and it would double the answer.
disable_created_metrics()  # type: ignore[no-untyped-call]
