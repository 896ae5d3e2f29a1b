"""The queues endpoint."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from api.queues.schemas import QueuesState

if TYPE_CHECKING:
    from api.queues.monitor import QueueMonitor

router = APIRouter(prefix="/api/v1/queues", tags=["queues"])


@router.get("", operation_id="getQueues", summary="Get the state of the queues")
async def get_queues(request: Request) -> QueuesState:
    """Return the waiting, running and failed jobs of each queue, at most one second old.

    `status` events carry the same data. If Redis is unreachable, the fields that come from Redis are null.
    """
    monitor: QueueMonitor = request.app.state.queues
    return await monitor.read_state()
