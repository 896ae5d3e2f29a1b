"""The pause endpoints, for admins."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from api.access.principal import PrincipalDep
from api.access.scopes import ADMIN
from api.audit_trail import record
from api.database import DatabaseDep
from api.pauses import repository
from api.pauses.names import check_name
from api.pauses.schemas import Pause, PauseRequest, Pauses
from contracts.states import PauseKind

router = APIRouter(prefix="/api/v1/pauses", tags=["queues"], dependencies=[ADMIN])

Name = Annotated[str, Path(description="Name of the queue, the task or the project. It may contain slashes")]


@router.get("", operation_id="listPauses", summary="List the pauses")
async def list_all(database: DatabaseDep) -> Pauses:
    """Return the paused queues, tasks and projects."""
    return Pauses(items=[Pause(**row) for row in await repository.find_pauses(database)])


@router.put("/{kind}/{name:path}", operation_id="pause", summary="Pause a queue, a task or a project")
async def pause(
    kind: PauseKind, name: Name, database: DatabaseDep, actor: PrincipalDep, request: PauseRequest | None = None
) -> Pause:
    """No further job of it starts. Running jobs end normally, and new jobs wait.

    Idempotent. Another reason replaces the stored one.
    """
    check_name(kind, name)
    reason = None if request is None else request.reason
    async with database.transaction():
        if await repository.pause(database, kind, name, reason, actor.name):
            await record(database, f"{kind}.paused", name, reason=reason)
        return Pause(**await repository.get_pause(database, kind, name))


@router.delete(
    "/{kind}/{name:path}", operation_id="resume", summary="Resume a queue, a task or a project", status_code=204
)
async def resume(kind: PauseKind, name: Name, request: Request, database: DatabaseDep) -> None:
    """Delete the pause. The waiting jobs start at once, unless another pause applies to them. Idempotent."""
    async with database.transaction():
        if await repository.resume(database, kind, name):
            await record(database, f"{kind}.resumed", name)
        else:
            # The name of an existing pause may belong to another release.
            check_name(kind, name)
    request.app.state.dispatcher.wake()
