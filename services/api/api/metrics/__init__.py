"""Prometheus metrics of an API process; docs/reference/metrics.md lists them.

The process that commits the end of an attempt or job counts it, right after the commit.
"""

from prometheus_client import disable_created_metrics

# The creation time of each series is not used and would double the size of the response.
disable_created_metrics()  # type: ignore[no-untyped-call]
