"""The dispatcher of this process."""

from prometheus_client import Counter, Gauge

from contracts.names import Queue

PUBLISHED = Counter("issuetracker_dispatcher_published_total", "Messages published.", ["queue"])
REQUEUED = Counter(
    "issuetracker_dispatcher_requeued_total", "Jobs due again whose message was not published, or lost.", ["queue"]
)
LEASES_EXPIRED = Counter("issuetracker_dispatcher_leases_expired_total", "Attempts whose lease ended.", ["queue"])
FAILURES = Counter("issuetracker_dispatcher_failures_total", "Steps that a server's outage ended.", ["server"])
LAST_PASS = Gauge(
    "issuetracker_dispatcher_last_pass_timestamp_seconds", "When the dispatcher was last through, in Unix time."
)

for _queue in Queue:
    PUBLISHED.labels(_queue)
    REQUEUED.labels(_queue)
    LEASES_EXPIRED.labels(_queue)
for _server in ("redis", "postgres"):
    FAILURES.labels(_server)
