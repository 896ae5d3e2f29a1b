"""The model endpoints."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from api.access.confirmation import Confirmation, may_read
from api.audit_trail import record
from api.database import Database, DatabaseDep
from api.enrichment.repository import create_training_job
from api.issues.schemas import Project
from api.models import repository
from api.models.schemas import ModelStatus, ProjectChoice, Rollback
from contracts.limits import DEFAULT_PROJECT

router = APIRouter(prefix="/api/v1/models", tags=["models"])


@router.get("", operation_id="getModels", summary="Get a project's models")
async def get_status(database: DatabaseDep, project: Annotated[Project, Query()] = DEFAULT_PROJECT) -> ModelStatus:
    """Return a project's models with their metrics, and the newest training."""
    return await repository.get_status(database, project)


@router.post("/train", operation_id="trainModels", summary="Train a project's models", status_code=202)
async def train(choice: ProjectChoice, request: Request, database: DatabaseDep) -> ModelStatus | Confirmation:
    """Start training on the confirmed tags. A call during a running training changes nothing.

    A new model becomes active only if it performs better on held-out issues.
    """
    async with database.transaction():
        job_id = await create_training_job(database, choice.project, 0)
        if job_id is not None:
            await record(database, "project_model.training_started", choice.project, job_id=str(job_id))
    request.app.state.dispatcher.wake()
    return await _confirm(database, choice.project)


@router.post("/rollback", operation_id="rollBackModel", summary="Roll back the active model")
async def roll_back(rollback: Rollback, database: DatabaseDep) -> ModelStatus | Confirmation:
    """Activate the previous model, or the shipped base model if there is none."""
    if not await repository.roll_back(database, rollback.project, rollback.kind):
        detail = f"Project {rollback.project} has no active {rollback.kind} model to roll back."
        raise HTTPException(409, detail)
    return await _confirm(database, rollback.project)


async def _confirm(database: Database, project: str) -> ModelStatus | Confirmation:
    return await repository.get_status(database, project) if may_read() else Confirmation(project=project)
