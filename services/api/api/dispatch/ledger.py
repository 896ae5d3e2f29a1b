"""The ledger's moves that the dispatcher makes, each one statement and one commit.

pending | retrying  --take_due-->         queued    (run_at has come, the queue has room)
queued              --put_back-->         pending   (publishing failed, or the message is lost)
running             --expire_running-->   pending | dead   (the worker's lease has ended)
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from api.database import Pool

LEASE_LOST = "WorkerLost: the worker stopped renewing its lease"


@dataclass(frozen=True, slots=True)
class DueJob:
    """What is needed to publish a job."""

    id: UUID
    task: str
    queue: str
    message: dict[str, Any]
    tries: int


_TAKE_DUE = """
WITH due AS (
    SELECT id FROM job
    WHERE state IN ('pending', 'retrying') AND queue = $1 AND run_at <= now()
    ORDER BY run_at LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE job SET state = 'queued', queued_at = now(), lease_until = now() + $3
FROM due WHERE job.id = due.id
RETURNING job.id, task, queue, message, tries
"""

_PUT_BACK = """
UPDATE job SET state = 'pending', run_at = now(), queued_at = NULL, lease_until = NULL
WHERE id = ANY($1) AND state = 'queued'
"""

_EXPIRED_QUEUED = """
SELECT id, queue FROM job
WHERE state = 'queued' AND lease_until < now()
ORDER BY lease_until LIMIT $1
"""

_RENEW_QUEUED = """
UPDATE job SET lease_until = now() + $2 WHERE id = ANY($1) AND state = 'queued'
"""

_EXPIRE_RUNNING = """
WITH expired AS (
    SELECT id, tries >= $2 AS is_last FROM job
    WHERE state = 'running' AND lease_until < now()
    ORDER BY lease_until LIMIT $1
    FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE job SET
        state = CASE WHEN is_last THEN 'dead' ELSE 'pending' END,
        finished_at = CASE WHEN is_last THEN now() END,
        run_at = now(), lease_until = NULL, last_error = $3
    FROM expired WHERE job.id = expired.id
    RETURNING job.id, attempts, worker, started_at, state
), failure AS (
    INSERT INTO job_failure (job_id, attempt, kind, worker, error, started_at)
    SELECT id, attempts, 'lost', worker, $3, started_at FROM moved
)
SELECT id, state FROM moved
"""


async def take_due(pool: Pool, queue: str, limit: int, lease: timedelta) -> list[DueJob]:
    """Mark at most `limit` due jobs of the queue as queued, oldest first; other dispatchers skip them."""
    rows = await pool.fetch(_TAKE_DUE, queue, limit, lease)
    return [DueJob(**row) for row in rows]


async def put_back(pool: Pool, ids: Sequence[UUID]) -> None:
    """Make queued jobs due again, unless a worker has claimed them meanwhile."""
    await pool.execute(_PUT_BACK, ids)


async def expired_queued(pool: Pool, limit: int) -> dict[str, list[UUID]]:
    """Return queued jobs whose lease has ended, by queue: their messages wait, or are lost."""
    by_queue: dict[str, list[UUID]] = {}
    for row in await pool.fetch(_EXPIRED_QUEUED, limit):
        by_queue.setdefault(row["queue"], []).append(row["id"])
    return by_queue


async def renew_queued(pool: Pool, ids: Collection[UUID], lease: timedelta) -> None:
    """Give queued jobs, whose messages were seen waiting, a new lease."""
    await pool.execute(_RENEW_QUEUED, ids, lease)


async def expire_running(pool: Pool, limit: int, max_attempts: int) -> dict[UUID, str]:
    """End the attempts of workers that stopped renewing their lease; return each job's new state."""
    rows = await pool.fetch(_EXPIRE_RUNNING, limit, max_attempts, LEASE_LOST)
    return {row["id"]: row["state"] for row in rows}
