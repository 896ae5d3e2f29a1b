"""The queues' jobs in the ledger. Each query reads a bounded part of a partial index."""

from typing import TYPE_CHECKING, Any

from contracts.names import Queue

if TYPE_CHECKING:
    from api.database import Database  # imports the HTTP stack, which the exporter does not need

COUNTED_MAX = 10_000
"""Maximum of each count, which bounds the cost for a large backlog."""
RECENT = 200
"""Number of the newest results whose latency is measured."""

# The states are literals, so that the planner can use the partial indexes.
_WAITING = "state IN ('pending', 'retrying')"

# Due jobs are counted by an index-only scan. A due retry counts as waiting.
_COUNTS = f"""
WITH leased AS (
    SELECT queue, state FROM job WHERE state IN ('queued', 'running') LIMIT {COUNTED_MAX}
), dead AS (
    SELECT queue FROM job WHERE state = 'dead' LIMIT {COUNTED_MAX}
)
SELECT given.queue AS name,
    due.number + later.pending + (SELECT count(*) FROM leased WHERE queue = given.queue AND state = 'queued')
        AS waiting,
    (SELECT count(*) FROM leased WHERE queue = given.queue AND state = 'running') AS running,
    later.retrying, later.next_retry_s,
    (SELECT count(*) FROM dead WHERE queue = given.queue) AS dead
FROM unnest($1::text[]) AS given (queue)
CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM (
        SELECT FROM job WHERE {_WAITING} AND job.queue = given.queue AND run_at <= now() LIMIT {COUNTED_MAX}
    ) counted
) due
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'pending') AS pending,
        count(*) FILTER (WHERE state = 'retrying') AS retrying,
        extract(epoch FROM min(run_at) FILTER (WHERE state = 'retrying') - now())::float8 AS next_retry_s
    FROM (
        SELECT state, run_at FROM job WHERE {_WAITING} AND job.queue = given.queue AND run_at > now()
        ORDER BY run_at LIMIT {COUNTED_MAX}
    ) counted
) later
"""

# A due job waits in the ledger, or is published and has not started.
OLDEST_DUE = f"""
SELECT queue, extract(epoch FROM now() - min(run_at))::float8 AS age FROM (
    SELECT queue, (
        SELECT min(run_at) FROM job WHERE {_WAITING} AND job.queue = given.queue AND run_at <= now()
    ) AS run_at
    FROM unnest($1::text[]) AS given (queue)
    UNION ALL
    SELECT queue, min(run_at) FROM job WHERE state = 'queued' GROUP BY queue
) oldest
GROUP BY queue
"""
"""SQL: by queue, the seconds that the oldest due job has waited, or null if there is none."""

_DEAD_MESSAGES = f"""
SELECT count(*) FROM (SELECT FROM dead_message WHERE state = 'dead' LIMIT {COUNTED_MAX}) counted
"""
_CIRCUITS = "SELECT task, provider, last_error AS error, open_until FROM circuit WHERE open_until IS NOT NULL"

# Ids sort by time. A first run has the same creation time as its issue, because one statement creates both.
_RECENT = f"""
SELECT count(*) AS issues,
    extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (ORDER BY finished_at - job.created_at))::float8
        AS p95_s,
    (SELECT provenance->>'provider' FROM enrichment ORDER BY job_id DESC LIMIT 1) AS provider
FROM (SELECT job_id, issue_id FROM enrichment ORDER BY job_id DESC LIMIT {RECENT}) newest
JOIN job ON job.id = job_id JOIN issue ON issue.id = newest.issue_id AND issue.created_at = job.created_at
"""


async def find_counts(database: "Database") -> list[dict[str, Any]]:
    """Return by queue the numbers of waiting, running, retrying and dead jobs, each up to `COUNTED_MAX`."""
    ages = await find_oldest_due(database)
    return [{**row, "oldest_due_s": ages.get(row["name"])} for row in await database.fetch(_COUNTS, list(Queue))]


async def find_oldest_due(database: "Database") -> dict[str, float | None]:
    """Return by queue the seconds that the oldest due job has waited."""
    return {row["queue"]: row["age"] for row in await database.fetch(OLDEST_DUE, list(Queue))}


async def count_dead_messages(database: "Database") -> int:
    """Return the number of dead messages, up to `COUNTED_MAX`."""
    number: int = await database.fetchval(_DEAD_MESSAGES)
    return number


async def find_circuits(database: "Database") -> list[dict[str, Any]]:
    """Return the circuit breakers that are open or half-open."""
    return [dict(row) for row in await database.fetch(_CIRCUITS)]


async def find_recent(database: "Database") -> dict[str, Any]:
    """Return the recent latency from POST to result, and the provider of the newest result."""
    row = await database.fetchrow(_RECENT)
    assert row is not None
    return dict(row)
