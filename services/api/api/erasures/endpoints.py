"""The erasure endpoints. Requests can be repeated."""

from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response

from api.access.scopes import ERASE
from api.audit_trail import record
from api.database import DatabaseDep
from api.erasures import repository
from api.erasures.schemas import Erasure, ProjectErasure
from api.problems import require_found
from api.runs.repository import lock_unfinished
from contracts.validation import format_value

router = APIRouter(prefix="/api/v1/erasures", tags=["erasures"], dependencies=[ERASE])


@router.get("/{erasure_id}", operation_id="getErasure", summary="Get an erasure")
async def get_erasure(erasure_id: UUID, database: DatabaseDep) -> Erasure:
    """Return the state of an erasure, by the id of the issue or of the project's erasure."""
    return require_found(await repository.get_erasure(database, erasure_id), f"erasure {erasure_id}")


@router.put("/{erasure_id}", operation_id="eraseIssue", summary="Erase an issue", status_code=202)
async def erase_issue(erasure_id: UUID, request: Request, response: Response, database: DatabaseDep) -> Erasure:
    """Delete the issue with this id, and erase its text everywhere in the background. This cannot be undone.

    A deleted issue can be erased too.
    """
    async with database.transaction():
        await lock_unfinished(database, erasure_id)
        if await repository.request_issue(database, erasure_id):
            await record(database, "issue.erased", erasure_id)
        erasure = require_found(await repository.get_erasure(database, erasure_id), f"issue {erasure_id}")
    return _accept(request, response, erasure)


@router.put("", operation_id="eraseProject", summary="Erase a project", status_code=202)
async def erase_project(
    chosen: ProjectErasure, request: Request, response: Response, database: DatabaseDep
) -> Erasure:
    """Erase all issues that the project has now, and what its models learned from them. This cannot be undone."""
    async with database.transaction():
        erasure = await repository.request_project(database, chosen.project)
        if erasure is not None:
            await record(database, "project.erased", chosen.project, erasure=str(erasure.id))
        else:
            erasure = await repository.find_erasure_of(database, chosen.project)
    if erasure is None:
        name = format_value(chosen.project)
        raise HTTPException(404, f"Project {name} has no issues. Use the name of a project with issues.")
    return _accept(request, response, erasure)


def _accept(request: Request, response: Response, erasure: Erasure) -> Erasure:
    request.app.state.dispatcher.wake()
    response.headers["Location"] = str(request.app.url_path_for("get_erasure", erasure_id=erasure.id))
    return erasure
