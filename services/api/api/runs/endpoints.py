"""The enrichment run endpoints."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response

from api.access.confirmation import Confirmation, may_read
from api.audit_trail import record
from api.database import DatabaseDep
from api.issues.repository import lock_issue
from api.paging import PageQuery, page_by_id
from api.problems import ProblemError, not_found, require_found
from api.runs import repository
from api.runs.schemas import Run, RunPage
from contracts.ledger.states import CANCELLED

router = APIRouter(prefix="/api/v1/issues/{issue_id}/enrichments", tags=["enrichment"])


@router.get("", operation_id="listRuns", summary="List an issue's enrichment runs")
async def list_page(
    issue_id: UUID,
    request: Request,
    response: Response,
    database: DatabaseDep,
    query: Annotated[PageQuery, Query()],
) -> RunPage:
    """Return an issue's runs in every state, newest first."""
    read = partial(repository.list_runs, database, issue_id)
    page, next_cursor = await page_by_id(request, response, query, read)
    if not page and not await repository.issue_exists(database, issue_id):
        raise not_found(f"issue {issue_id}")
    return RunPage(items=page, next_cursor=next_cursor)


@router.get("/{job_id}", operation_id="getRun", summary="Get an enrichment run")
async def get_run(issue_id: UUID, job_id: UUID, database: DatabaseDep) -> Run:
    """Return the state of an enrichment run."""
    run = await repository.get_run(database, issue_id, job_id)
    return require_found(run, f"run {job_id} of issue {issue_id}")


@router.post("", operation_id="startRun", summary="Enrich an issue again", status_code=202)
async def start(issue_id: UUID, request: Request, response: Response, database: DatabaseDep) -> Run | Confirmation:
    """Schedule a run to start now. It does not change user-set tags. Returns 409 if a run is unfinished."""
    async with database.transaction():
        unfinished = await repository.lock_unfinished(database, issue_id)
        require_found(await lock_issue(database, issue_id), f"issue {issue_id}")
        if unfinished:
            current = unfinished[-1]
            if not may_read():
                raise HTTPException(409, "A run is unfinished. Wait until it finishes.")
            detail = f"Run {current.id} is {current.state}. Wait until it finishes, or cancel it."
            raise ProblemError(409, detail, {"job_id": str(current.id)})
        job_id = await repository.start_run(database, issue_id)
        await record(database, "enrichment.started", issue_id, job_id=str(job_id))
    request.app.state.dispatcher.wake()
    path = request.app.url_path_for("get_run", issue_id=issue_id, job_id=job_id)
    response.headers["Location"] = str(path)
    return _confirm(await get_run(issue_id, job_id, database))


@router.post("/{job_id}/cancel", operation_id="cancelRun", summary="Cancel an enrichment run")
async def cancel(issue_id: UUID, job_id: UUID, database: DatabaseDep) -> Run | Confirmation:
    """Cancel an unfinished run. The running attempt's result is discarded. Idempotent."""
    async with database.transaction():
        if await repository.cancel_run(database, issue_id, job_id):
            await record(database, "enrichment.cancelled", issue_id, job_id=str(job_id))
        run = await get_run(issue_id, job_id, database)
    if run.state != CANCELLED:
        state = run.state if may_read() else "finished"
        raise HTTPException(409, f"Run {job_id} is {state}. Only an unfinished run can be cancelled.")
    return _confirm(run)


def _confirm(run: Run) -> Run | Confirmation:
    return run if may_read() else Confirmation(id=run.id, issue_id=run.issue_id, state=run.state)
