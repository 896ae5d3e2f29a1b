"""What the ledger holds of the queues: each part reads a partial index, and no more of it than it says."""

from typing import TYPE_CHECKING, Any

from contracts.names import Queue

if TYPE_CHECKING:
    from api.database import Database  # with all that serves HTTP, of which the exporter needs nothing

COUNTED_MAX = 10_000
"""No number is counted further: a backlog of millions costs what one of ten thousand does."""
RECENT = 200
"""Newest results that tell how long an issue takes."""

# The states are constants, so that the partial indexes serve.
_WAITING = "state IN ('pending', 'retrying')"

# What is due is counted in the index alone. A retry whose time has come waits like any other job.
_COUNTS = f"""
WITH leased AS (
    SELECT queue, state FROM job WHERE state IN ('queued', 'running') LIMIT {COUNTED_MAX}
), dead AS (
    SELECT queue FROM job WHERE state = 'dead' LIMIT {COUNTED_MAX}
)
SELECT asked.queue AS name,
    due.number + later.pending + (SELECT count(*) FROM leased WHERE queue = asked.queue AND state = 'queued')
        AS waiting,
    (SELECT count(*) FROM leased WHERE queue = asked.queue AND state = 'running') AS running,
    later.retrying, later.next_retry_s,
    (SELECT count(*) FROM dead WHERE queue = asked.queue) AS dead
FROM unnest($1::text[]) AS asked (queue)
CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM (
        SELECT FROM job WHERE {_WAITING} AND job.queue = asked.queue AND run_at <= now() LIMIT {COUNTED_MAX}
    ) counted
) due
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'pending') AS pending,
        count(*) FILTER (WHERE state = 'retrying') AS retrying,
        extract(epoch FROM min(run_at) FILTER (WHERE state = 'retrying') - now())::float8 AS next_retry_s
    FROM (
        SELECT state, run_at FROM job WHERE {_WAITING} AND job.queue = asked.queue AND run_at > now()
        ORDER BY run_at LIMIT {COUNTED_MAX}
    ) counted
) later
"""

# What is due waits in the ledger, or published and not yet begun.
OLDEST_DUE = f"""
SELECT queue, extract(epoch FROM now() - min(run_at))::float8 AS age FROM (
    SELECT queue, (
        SELECT min(run_at) FROM job WHERE {_WAITING} AND job.queue = asked.queue AND run_at <= now()
    ) AS run_at
    FROM unnest($1::text[]) AS asked (queue)
    UNION ALL
    SELECT queue, min(run_at) FROM job WHERE state = 'queued' GROUP BY queue
) oldest
GROUP BY queue
"""
"""SQL: of each queue the age in seconds of the oldest job that is due and has not begun, null where none is."""

_DEAD_MESSAGES = f"""
SELECT count(*) FROM (SELECT FROM dead_message WHERE state = 'dead' LIMIT {COUNTED_MAX}) counted
"""
_CIRCUITS = "SELECT task, provider, last_error AS error, open_until FROM circuit WHERE open_until IS NOT NULL"

# Ids sort by time. A first run is as old as its issue, to the microsecond: both are of one statement.
_RECENT = f"""
SELECT count(*) AS issues,
    extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (ORDER BY finished_at - job.created_at))::float8
        AS p95_s,
    (SELECT provenance->>'provider' FROM enrichment ORDER BY job_id DESC LIMIT 1) AS provider
FROM (SELECT job_id, issue_id FROM enrichment ORDER BY job_id DESC LIMIT {RECENT}) newest
JOIN job ON job.id = job_id JOIN issue ON issue.id = newest.issue_id AND issue.created_at = job.created_at
"""


async def find_counts(database: "Database") -> list[dict[str, Any]]:
    """Return of each queue how many jobs wait, run, wait for a retry and are dead, each to `COUNTED_MAX`."""
    ages = await find_oldest_due(database)
    return [{**row, "oldest_due_s": ages.get(row["name"])} for row in await database.fetch(_COUNTS, list(Queue))]


async def find_oldest_due(database: "Database") -> dict[str, float | None]:
    """Return of each queue since how many seconds its oldest due job waits."""
    return {row["queue"]: row["age"] for row in await database.fetch(OLDEST_DUE, list(Queue))}


async def count_dead_messages(database: "Database") -> int:
    """Return how many messages wait for a person, to `COUNTED_MAX`."""
    number: int = await database.fetchval(_DEAD_MESSAGES)
    return number


async def find_circuits(database: "Database") -> list[dict[str, Any]]:
    """Return the tasks that wait for their provider, or try whether it is back."""
    return [dict(row) for row in await database.fetch(_CIRCUITS)]


async def find_recent(database: "Database") -> dict[str, Any]:
    """Return how long issues lately took from their POST to their result, and who made the newest."""
    row = await database.fetchrow(_RECENT)
    assert row is not None
    return dict(row)
