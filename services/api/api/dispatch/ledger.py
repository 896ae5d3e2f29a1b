"""The dispatcher's transitions of the ledger over asyncpg. `contracts.ledger.dispatch` has their statements."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from math import inf
from typing import Any
from uuid import UUID

from api.database import Database
from api.metrics import jobs as metrics
from contracts.ids import new_id
from contracts.ledger import dispatch, shares
from contracts.ledger.fair_share import Allocation, Lane
from contracts.messages import RejectedMessage
from contracts.states import RETRYABLE_REJECTIONS


@dataclass(frozen=True, slots=True)
class DueJob:
    """A due job with the columns needed to publish it."""

    id: UUID
    task: str
    queue: str
    message: dict[str, Any]
    attempts_since_replay: int


_DUE_JOB = tuple(DueJob.__dataclass_fields__)
_LANE = tuple(Lane.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class ExpiredJob:
    """A job whose worker was lost, and its new state."""

    id: UUID
    task: str
    queue: str
    state: str


_STORE_DEAD_MESSAGE = """
INSERT INTO dead_message (id, digest, queue, reason, error, worker, raw) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (digest) DO UPDATE SET state = 'dead', decided_at = NULL WHERE dead_message.state = 'replayed'
"""


async def find_lanes(
    database: Database, queue: str, last: Mapping[int, tuple[str, str]]
) -> tuple[list[Lane], dict[int, tuple[str, str]]]:
    """Return lanes of the queue that have a due job, by class, and where a limit has ended the scans.

    The lanes of a class begin behind the project and task in `last`, and continue at its first lane. The second
    result is the last project and task of each class that has further lanes.
    """
    find = dispatch.FIND_LANES.bind(
        queue=queue,
        classes=list(last),
        projects=[project for project, _ in last.values()],
        tasks=[task for _, task in last.values()],
    )
    rows = await database.fetch(*find)
    lanes = [Lane(**{column: row[column] for column in _LANE}) for row in rows if row["is_due"]]
    return lanes, {row["priority_class"]: (row["project"], row["task"]) for row in rows if row["is_end"]}


async def claim_due(
    database: Database, queue: str, allocations: Sequence[Allocation], lease: timedelta
) -> tuple[list[DueJob], dict[Lane, int]]:
    """Mark due jobs as queued; other dispatchers skip them.

    Return the jobs in the order of the allocations, and the number of missing jobs of each lane that is exhausted.
    """
    claim = dispatch.CLAIM_DUE.bind(
        queue=queue,
        classes=[allocation.lane.priority_class for allocation in allocations],
        projects=[allocation.lane.project for allocation in allocations],
        tasks=[allocation.lane.task for allocation in allocations],
        counts=[allocation.count for allocation in allocations],
        lease=lease,
    )
    places = {allocation.lane.key: place for place, allocation in enumerate(allocations)}
    rows = [
        (places[row["priority_class"], row["project"], row["task"]], row) for row in await database.fetch(*claim)
    ]
    rows.sort(key=lambda each: (each[0], each[1]["run_at"]))
    found = Counter(place for place, _ in rows)
    missing = {allocation.lane: allocation.count - found[place] for place, allocation in enumerate(allocations)}
    jobs = [DueJob(**{column: row[column] for column in _DUE_JOB}) for _, row in rows]
    return jobs, {lane: number for lane, number in missing.items() if number}


async def find_shares(database: Database) -> list[Any]:
    """Return the weights and limits of the projects that have any."""
    return await database.fetch(shares.FIND_SHARES.sql)


class LimitsLocked(Exception):
    """Another dispatcher claims jobs within the limits of projects."""


async def find_room(database: Database, limits: Mapping[str, int], default: int | None) -> dict[str, float]:
    """Return how many further jobs each project may have; raise LimitsLocked.

    No other dispatcher claims until the transaction ends.

    `default` limits projects without a limit of their own. Jobs without a project have no limit.
    """
    if not await database.fetchval(shares.TRY_LOCK_LIMITS.sql):
        raise LimitsLocked
    room: dict[str, float] = defaultdict(lambda: inf if default is None else default)
    room.update({project: float(limit) for project, limit in limits.items()}, **{"": inf})
    for row in await database.fetch(shares.COUNT_LEASED.sql):
        room[row["project"]] -= row["number"]
    return room


async def requeue(database: Database, ids: Sequence[UUID]) -> int:
    """Requeue queued jobs, unless a worker has claimed them meanwhile; return the number of requeued jobs."""
    return len(await database.fetch(*dispatch.REQUEUE.bind(ids=ids, is_leased=True)))


async def requeue_lost(database: Database, ids: Sequence[UUID]) -> int:
    """Requeue queued jobs whose lease has expired, unless another dispatcher has published them meanwhile.

    Return the number of requeued jobs.
    """
    return len(await database.fetch(*dispatch.REQUEUE.bind(ids=ids, is_leased=False)))


async def find_expired_queued(database: Database, limit: int) -> dict[str, list[UUID]]:
    """Return queued jobs whose lease has expired, by queue. Their messages are waiting or lost."""
    by_queue: dict[str, list[UUID]] = {}
    for row in await database.fetch(*dispatch.FIND_EXPIRED_QUEUED.bind(limit=limit)):
        by_queue.setdefault(row["queue"], []).append(row["id"])
    return by_queue


async def renew_queued(database: Database, ids: Collection[UUID], lease: timedelta) -> None:
    """Renew the leases of queued jobs whose messages are still waiting."""
    await database.execute(*dispatch.RENEW_QUEUED.bind(ids=ids, lease=lease))


async def expire_running(database: Database, limit: int, max_attempts: int) -> list[ExpiredJob]:
    """End the attempts of workers that stopped renewing their lease; return their jobs."""
    expire = dispatch.EXPIRE_RUNNING.bind(limit=limit, max_attempts=max_attempts, error=dispatch.LEASE_LOST)
    return [ExpiredJob(**row) for row in await database.fetch(*expire)]


async def find_log_fields(database: Database, ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return the log fields of jobs, by job id. This queries the database, so use it only for rare log lines."""
    rows = await database.fetch(*dispatch.FIND_LOG_FIELDS.bind(ids=list(ids))) if ids else []
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
    settle = dispatch.SETTLE_REJECTED.bind(
        ids=[message.job_id for message in with_job],
        for_newer=[message.reason in RETRYABLE_REJECTIONS for message in with_job],
        errors=[_error(message) for message in with_job],
        workers=[message.worker for message in with_job],
        retry=retry,
        give_up_after=give_up_after,
    )
    known = await database.fetch(*settle)
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
