"""The dispatcher's transitions of the ledger, each in one statement and one commit.

pending | retrying  --claim_due-->        queued    (run_at has passed, the queue has room)
queued              --requeue-->          pending   (publishing failed, or the message is lost)
running             --expire_running-->   pending | dead   (the worker's lease has expired)
queued              --settle_rejected-->  pending | dead   (no worker of this version can run it)
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from api.database import Database
from api.metrics import jobs as metrics
from contracts.ids import new_id
from contracts.messages import RejectedMessage
from contracts.states import RETRYABLE_REJECTIONS

LEASE_LOST = "WorkerLost: the worker stopped renewing its lease"


@dataclass(frozen=True, slots=True)
class DueJob:
    """A due job with the columns needed to publish it."""

    id: UUID
    task: str
    queue: str
    message: dict[str, Any]
    attempts_since_replay: int


@dataclass(frozen=True, slots=True)
class ExpiredJob:
    """A job whose worker was lost, and its new state."""

    id: UUID
    task: str
    queue: str
    state: str


_CLAIM_DUE = """
WITH due AS (
    SELECT id FROM job
    WHERE state IN ('pending', 'retrying') AND queue = $1 AND run_at <= now()
        AND task <> ALL (ARRAY(SELECT task FROM circuit WHERE open_until > now()))
    ORDER BY run_at LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE job SET state = 'queued', queued_at = now(), lease_until = now() + $3
FROM due WHERE job.id = due.id
RETURNING job.id, task, queue, message, tries AS attempts_since_replay
"""

_REQUEUE = """
UPDATE job SET state = 'pending', run_at = now(), queued_at = NULL, lease_until = NULL
WHERE id = ANY($1) AND state = 'queued' AND ($2 OR lease_until < now())
RETURNING id
"""

_FIND_EXPIRED_QUEUED = """
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
    RETURNING job.id, task, queue, attempts, worker, started_at, state
), failure AS (
    INSERT INTO job_failure (job_id, attempt, kind, worker, error, started_at)
    SELECT id, attempts, 'lost', worker, $3, started_at FROM moved
)
SELECT id, task, queue, state FROM moved
"""


_SETTLE_REJECTED = """
WITH given AS (
    SELECT DISTINCT ON (id) * FROM unnest($1::uuid[], $2::boolean[], $3::text[], $4::text[])
        AS given (id, for_newer, error, worker)
), rejected AS (
    SELECT id, error, given.worker,
        NOT for_newer OR coalesce(refused_since, now()) < now() - $6::interval AS is_over
    FROM job JOIN given USING (id) WHERE state = 'queued'
    FOR UPDATE OF job SKIP LOCKED
), moved AS (
    UPDATE job SET
        state = CASE WHEN is_over THEN 'dead' ELSE 'pending' END,
        finished_at = CASE WHEN is_over THEN now() END,
        refused_since = coalesce(refused_since, now()),
        run_at = now() + $5::interval, queued_at = NULL, lease_until = NULL, last_error = error
    FROM rejected WHERE job.id = rejected.id
    RETURNING job.id, task, queue, attempts, state, error, rejected.worker
), failure AS (
    INSERT INTO job_failure (job_id, attempt, kind, worker, error)
    SELECT id, attempts, 'permanent', worker, error FROM moved WHERE state = 'dead'
    ON CONFLICT DO NOTHING
)
SELECT id, job.task, job.queue, moved.state IS NOT DISTINCT FROM 'dead' AS has_died
FROM job JOIN given USING (id) LEFT JOIN moved USING (id)
"""

_STORE_DEAD_MESSAGE = """
INSERT INTO dead_message (id, digest, queue, reason, error, worker, raw) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (digest) DO UPDATE SET state = 'dead', decided_at = NULL WHERE dead_message.state = 'replayed'
"""


_FIND_LOG_FIELDS = """
SELECT id, jsonb_build_object(
    'job_id', id, 'task', task, 'queue', queue, 'attempt', attempts, 'issue_id', message->'issue_id',
    'request_id', message->'request_id', 'worker', worker
) AS fields
FROM job WHERE id = ANY($1)
"""


async def claim_due(database: Database, queue: str, limit: int, lease: timedelta) -> list[DueJob]:
    """Mark at most `limit` due jobs of the queue as queued, oldest first; other dispatchers skip them."""
    rows = await database.fetch(_CLAIM_DUE, queue, limit, lease)
    return [DueJob(**row) for row in rows]


async def requeue(database: Database, ids: Sequence[UUID]) -> int:
    """Requeue queued jobs, unless a worker has claimed them meanwhile; return the number of requeued jobs."""
    return len(await database.fetch(_REQUEUE, ids, True))


async def requeue_lost(database: Database, ids: Sequence[UUID]) -> int:
    """Requeue queued jobs whose lease has expired, unless another dispatcher has published them meanwhile.

    Return the number of requeued jobs.
    """
    return len(await database.fetch(_REQUEUE, ids, False))


async def find_expired_queued(database: Database, limit: int) -> dict[str, list[UUID]]:
    """Return queued jobs whose lease has expired, by queue. Their messages are waiting or lost."""
    by_queue: dict[str, list[UUID]] = {}
    for row in await database.fetch(_FIND_EXPIRED_QUEUED, limit):
        by_queue.setdefault(row["queue"], []).append(row["id"])
    return by_queue


async def renew_queued(database: Database, ids: Collection[UUID], lease: timedelta) -> None:
    """Renew the leases of queued jobs whose messages are still waiting."""
    await database.execute(_RENEW_QUEUED, ids, lease)


async def expire_running(database: Database, limit: int, max_attempts: int) -> list[ExpiredJob]:
    """End the attempts of workers that stopped renewing their lease; return their jobs."""
    return [ExpiredJob(**row) for row in await database.fetch(_EXPIRE_RUNNING, limit, max_attempts, LEASE_LOST)]


async def find_log_fields(database: Database, ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return the log fields of jobs, by job id. This queries the database, so use it only for rare log lines."""
    rows = await database.fetch(_FIND_LOG_FIELDS, list(ids)) if ids else []
    return {row["id"]: {name: value for name, value in row["fields"].items() if value is not None} for row in rows}


async def settle_rejected(
    database: Database, rejected: Sequence[RejectedMessage], retry: timedelta, give_up_after: timedelta
) -> None:
    """Settle messages that workers have rejected.

    If a newer worker may be able to run the job, it is published again after `retry`, until `give_up_after`
    has passed since its first rejection. Otherwise the job is dead. A message without a job becomes a dead
    message. A job that another dispatcher handles at the same time is left to it.
    """
    with_job = [message for message in rejected if message.job_id is not None]
    known = await database.fetch(
        _SETTLE_REJECTED,
        [message.job_id for message in with_job],
        [message.reason in RETRYABLE_REJECTIONS for message in with_job],
        [_error(message) for message in with_job],
        [message.worker for message in with_job],
        retry,
        give_up_after,
    )
    for row in known:
        if row["has_died"]:
            database.on_commit(partial(metrics.record_dead, row["task"], row["queue"]))
    jobs = {row["id"] for row in known}
    for message in rejected:
        if message.job_id not in jobs:
            await _store_dead_message(database, message)


async def _store_dead_message(database: Database, message: RejectedMessage) -> None:
    digest = sha256(message.raw).digest()
    values = (message.queue, message.reason, _error(message), message.worker, message.raw)
    await database.execute(_STORE_DEAD_MESSAGE, new_id(), digest, *values)


def _error(message: RejectedMessage) -> str:
    return f"{message.reason}: {message.error}".replace("\x00", "")
