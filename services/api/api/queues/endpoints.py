"""The queues endpoint."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request

from api.access.scopes import ADMIN
from api.audit_trail import record
from api.database import DatabaseDep
from api.queues.schemas import ProjectShare, ProjectShares, QueuesState
from contracts.ledger import shares

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


@router.get("/projects", operation_id="listProjectShares", summary="List the shares of projects")
async def list_shares(database: DatabaseDep) -> ProjectShares:
    """Return the projects that have a weight or a limit of their own."""
    return ProjectShares(items=[ProjectShare(**row) for row in await database.fetch(shares.FIND_SHARES.sql)])


@router.put(
    "/projects", operation_id="setProjectShare", summary="Set the share of a project", dependencies=[ADMIN]
)
async def set_share(share: ProjectShare, database: DatabaseDep) -> ProjectShare:
    """Set a project's weight and limit. Dispatchers apply them within a second. Idempotent."""
    async with database.transaction():
        await database.execute(*shares.SET_SHARE.bind(**share.model_dump()))
        await record(database, "project.share_set", share.project, **share.model_dump(exclude={"project"}))
    return share
