"""The queues' jobs in the ledger."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from contracts.ledger.classes import class_name
from contracts.ledger.queries import (
    COUNT_BY_CLASS,
    COUNT_BY_PROJECT,
    COUNT_BY_QUEUE,
    COUNTED_MAX,
    FIND_AT_LIMIT,
    OLDEST_DUE,
    WAITING_TIMES,
)
from contracts.names import Queue
from contracts.states import DeadMessageState

if TYPE_CHECKING:
    from api.database import Database  # imports the HTTP stack, which the exporter does not need

RECENT = 200
"""Number of the newest results whose latency is measured."""

_DEAD_MESSAGES = f"""
SELECT count(*) FROM (SELECT FROM dead_message WHERE state = '{DeadMessageState.DEAD}' LIMIT {COUNTED_MAX}) counted
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
    ages = {row["queue"]: row["age"] for row in await database.fetch(*OLDEST_DUE.bind(queues=list(Queue)))}
    counts = await database.fetch(*COUNT_BY_QUEUE.bind(queues=list(Queue)))
    return [{**row, "oldest_due_s": ages.get(row["name"])} for row in counts]


async def find_waiting_times(
    database: "Database", running_max: int | None, recent: Collection[str]
) -> dict[str, Any]:
    """Return by queue the `foreground_s` and `background_s` of `WAITING_TIMES`.

    `running_max` limits the projects without a limit of their own; `recent` were at their limit a moment ago.
    """
    at_limit = {row["project"] for row in await database.fetch(*FIND_AT_LIMIT.bind(running_max=running_max))}
    statement = WAITING_TIMES.bind(queues=list(Queue), at_limit=list(at_limit.union(recent)))
    return {row["queue"]: row for row in await database.fetch(*statement)}


async def count_by_class(database: "Database") -> list[dict[str, Any]]:
    """Return the number of due jobs of each priority class."""
    rows = await database.fetch(*COUNT_BY_CLASS.bind(queues=list(Queue)))
    return [{"name": class_name(row["priority_class"]), "waiting": row["waiting"]} for row in rows]


async def count_by_project(database: "Database") -> list[dict[str, Any]]:
    """Return the number of due jobs of the projects with the most."""
    rows = await database.fetch(*COUNT_BY_PROJECT.bind(queues=list(Queue)))
    return [{"name": row["project"], "waiting": row["waiting"]} for row in rows]


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
