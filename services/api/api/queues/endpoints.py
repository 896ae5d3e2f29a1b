"""The endpoint of the queues."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from api.queues.schemas import QueuesState

if TYPE_CHECKING:
    from api.queues.monitor import QueueMonitor

router = APIRouter(prefix="/api/v1/queues", tags=["queues"])


@router.get("", operation_id="getQueues", summary="Look at the queues")
async def get_queues(request: Request) -> QueuesState:
    """Answer what waits, runs and has failed, as it was within the last second; the `status` events hold the same.

    Redis unreachable is an answer: what only Redis knows is null then.
    """
    watch: QueueMonitor = request.app.state.queues
    return await watch.read_state()
