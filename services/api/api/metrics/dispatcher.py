"""Metrics of the dispatcher of this process."""

from prometheus_client import Counter, Gauge

from contracts.names import Queue

PUBLISHED = Counter("issuetracker_dispatcher_published_total", "Messages published.", ["queue"])
REQUEUED = Counter(
    "issuetracker_dispatcher_requeued_total",
    "Jobs requeued because their message was not published or was lost.",
    ["queue"],
)
LEASES_EXPIRED = Counter(
    "issuetracker_dispatcher_leases_expired_total", "Attempts whose lease expired.", ["queue"]
)
FAILURES = Counter(
    "issuetracker_dispatcher_failures_total", "Steps that failed because of a server's outage.", ["server"]
)
LAST_PASS = Gauge(
    "issuetracker_dispatcher_last_pass_timestamp_seconds", "Unix time of the end of the dispatcher's last pass."
)

for _queue in Queue:
    PUBLISHED.labels(_queue)
    REQUEUED.labels(_queue)
    LEASES_EXPIRED.labels(_queue)
for _server in ("redis", "postgres"):
    FAILURES.labels(_server)
