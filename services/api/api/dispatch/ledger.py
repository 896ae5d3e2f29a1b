"""The ledger's moves that the dispatcher makes, each one statement and one commit.

pending | retrying  --take_due-->         queued    (run_at has come, the queue has room)
queued              --put_back-->         pending   (publishing failed, or the message is lost)
running             --expire_running-->   pending | dead   (the worker's lease has ended)
queued              --settle_refused-->   pending | dead   (no worker of this version can run it)
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from api.database import Database
from contracts.ids import new_id
from contracts.messages import RefusedMessage
from contracts.states import FOR_NEWER_WORKERS

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
        AND task <> ALL (ARRAY(SELECT task FROM circuit WHERE open_until > now()))
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

_PUT_BACK_LOST = f"{_PUT_BACK} AND lease_until < now()"

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


_REFUSE = """
WITH refused AS (
    SELECT id, NOT $2 OR coalesce(refused_since, now()) < now() - $5::interval AS is_over FROM job
    WHERE id = $1 AND state = 'queued'
    FOR UPDATE
), moved AS (
    UPDATE job SET
        state = CASE WHEN is_over THEN 'dead' ELSE 'pending' END,
        finished_at = CASE WHEN is_over THEN now() END,
        refused_since = coalesce(refused_since, now()),
        run_at = now() + $4::interval, queued_at = NULL, lease_until = NULL, last_error = $3
    FROM refused WHERE job.id = refused.id
    RETURNING job.id, attempts, state
), failure AS (
    INSERT INTO job_failure (job_id, attempt, kind, worker, error)
    SELECT id, attempts, 'permanent', $6, $3 FROM moved WHERE state = 'dead'
    ON CONFLICT DO NOTHING
)
SELECT EXISTS (SELECT FROM job WHERE id = $1)
"""

_KEEP_MESSAGE = """
INSERT INTO dead_message (id, digest, queue, reason, error, worker, raw) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (digest) DO UPDATE SET state = 'dead', decided_at = NULL WHERE dead_message.state = 'replayed'
"""


_LOG_FIELDS = """
SELECT id, jsonb_build_object(
    'job_id', id, 'task', task, 'queue', queue, 'attempt', attempts, 'issue_id', message->'issue_id',
    'request_id', message->'request_id', 'worker', worker
) AS fields
FROM job WHERE id = ANY($1)
"""


async def take_due(database: Database, queue: str, limit: int, lease: timedelta) -> list[DueJob]:
    """Mark at most `limit` due jobs of the queue as queued, oldest first; other dispatchers skip them."""
    rows = await database.fetch(_TAKE_DUE, queue, limit, lease)
    return [DueJob(**row) for row in rows]


async def put_back(database: Database, ids: Sequence[UUID]) -> None:
    """Make queued jobs due again, unless a worker has claimed them meanwhile."""
    await database.execute(_PUT_BACK, ids)


async def put_back_lost(database: Database, ids: Sequence[UUID]) -> None:
    """Make queued jobs due again whose lease has ended; another dispatcher may have published them meanwhile."""
    await database.execute(_PUT_BACK_LOST, ids)


async def expired_queued(database: Database, limit: int) -> dict[str, list[UUID]]:
    """Return queued jobs whose lease has ended, by queue: their messages wait, or are lost."""
    by_queue: dict[str, list[UUID]] = {}
    for row in await database.fetch(_EXPIRED_QUEUED, limit):
        by_queue.setdefault(row["queue"], []).append(row["id"])
    return by_queue


async def renew_queued(database: Database, ids: Collection[UUID], lease: timedelta) -> None:
    """Give queued jobs, whose messages were seen waiting, a new lease."""
    await database.execute(_RENEW_QUEUED, ids, lease)


async def expire_running(database: Database, limit: int, max_attempts: int) -> dict[UUID, str]:
    """End the attempts of workers that stopped renewing their lease; return each job's new state."""
    rows = await database.fetch(_EXPIRE_RUNNING, limit, max_attempts, LEASE_LOST)
    return {row["id"]: row["state"] for row in rows}


async def log_fields(database: Database, ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return what log lines tell of jobs, by their ids; for lines that are rare."""
    rows = await database.fetch(_LOG_FIELDS, list(ids)) if ids else []
    return {row["id"]: {name: value for name, value in row["fields"].items() if value is not None} for row in rows}


async def settle_refused(
    database: Database, refused: RefusedMessage, retry: timedelta, patience: timedelta
) -> None:
    """Decide on a message that a worker gave back.

    A job is offered again after `retry` when a newer worker may be able to run it, until `patience` has passed
    since it was first refused; otherwise it is dead. A message that is no job becomes a dead message.
    """
    error = f"{refused.reason}: {refused.error}".replace("\x00", "")
    for_newer = refused.reason in FOR_NEWER_WORKERS
    if refused.job_id is not None and await database.fetchval(
        _REFUSE, refused.job_id, for_newer, error, retry, patience, refused.worker
    ):
        return
    digest = sha256(refused.raw).digest()
    await database.execute(
        _KEEP_MESSAGE, new_id(), digest, refused.queue, refused.reason, error, refused.worker, refused.raw
    )
