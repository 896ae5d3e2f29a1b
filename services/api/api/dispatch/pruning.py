"""Create pruning jobs: by a schedule, after a webhook was deleted, and for an erasure."""

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


async def prune_now(database: Database) -> None:
    """Create a pruning job in the caller's transaction, even if another one is unfinished."""
    await prune_unless_unfinished(database, None)


async def prune_unless_unfinished(database: Database, last: UUID | None) -> UUID | None:
    """Create a pruning job in the caller's transaction, unless the job `last` is unfinished; return its id."""
    job_id = new_id()
    message = Prune(
        contract_version=CONTRACT_VERSION,
        job_id=job_id,
        request_id=request_id(),
        traceparent=tracing.traceparent(),
    )
    task, queue = Task.PRUNE, QUEUE_OF[Task.PRUNE]
    enqueue = ENQUEUE_UNLESS_UNFINISHED.bind(
        id=job_id, task=task, queue=queue, message=message.as_json(), last=last
    )
    created: UUID | None = await database.fetchval(*enqueue)
    if created is not None:
        database.on_commit(partial(metrics.record_created, task, queue))
    return created
