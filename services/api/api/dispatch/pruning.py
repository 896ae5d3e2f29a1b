"""Create pruning jobs: once an hour, after a webhook was deleted, and for an erasure."""

import time
from functools import partial
from uuid import UUID

from api.database import Database
from api.metrics import jobs as metrics
from api.request_log import request_id
from contracts import CONTRACT_VERSION, tracing
from contracts.ids import new_id
from contracts.ledger.enqueue import ENQUEUE_UNLESS_UNFINISHED
from contracts.messages import Prune
from contracts.names import QUEUE_OF, Task

HOUR_S = 3600
HOURS_MAX = 24
"""If no worker prunes, a new job is created only after a day."""


async def prune_hourly(database: Database, now_s: float | None = None) -> bool:
    """Create this hour's job, unless an earlier one is unfinished; return whether this call has created it.

    The job's id is derived from the hour, so only one dispatcher creates it, without a lock.
    """
    hour = int((time.time() if now_s is None else now_s) // HOUR_S)
    earlier = [_id_of(hour - back) for back in range(1, HOURS_MAX)]
    return await _create(database, _id_of(hour), earlier)


async def prune_now(database: Database) -> None:
    """Create a pruning job in the caller's transaction, even if another one is unfinished."""
    await _create(database, new_id(), [])


async def _create(database: Database, job_id: UUID, earlier: list[UUID]) -> bool:
    message = Prune(
        contract_version=CONTRACT_VERSION,
        job_id=job_id,
        request_id=request_id(),
        traceparent=tracing.traceparent(),
    )
    task, queue = Task.PRUNE, QUEUE_OF[Task.PRUNE]
    enqueue = ENQUEUE_UNLESS_UNFINISHED.bind(
        id=job_id, task=task, queue=queue, message=message.as_json(), earlier=earlier
    )
    created = await database.fetchval(*enqueue)
    if created is not None:
        database.on_commit(partial(metrics.record_created, task, queue))
    return created is not None


def _id_of(hour: int) -> UUID:
    """Return a UUIDv7 of the start of the hour, with random bits of 0."""
    return UUID(int=hour * HOUR_S * 1000 << 80 | 0x7 << 76 | 0b10 << 62)
