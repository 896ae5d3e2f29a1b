"""The model endpoints."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from api.audit_trail import record
from api.database import DatabaseDep
from api.enrichment.repository import train_if_due
from api.issues.schemas import Project
from api.models import repository
from api.models.schemas import ModelStatus, ProjectChoice, Rollback
from contracts.limits import DEFAULT_PROJECT

router = APIRouter(prefix="/api/v1/models", tags=["models"])


@router.get("", operation_id="getModels", summary="Get what was learned of a project")
async def get_status(database: DatabaseDep, project: Annotated[Project, Query()] = DEFAULT_PROJECT) -> ModelStatus:
    """Answer the project's models with how they did, and the newest training."""
    return await repository.get_status(database, project)


@router.post("/train", operation_id="trainModels", summary="Learn a project's models anew", status_code=202)
async def train(choice: ProjectChoice, request: Request, database: DatabaseDep) -> ModelStatus:
    """Start a training from the confirmed tags; while one is under way a second call changes nothing.

    What was learned becomes active only where it does better on issues that it has not seen.
    """
    async with database.transaction():
        job_id = await train_if_due(database, choice.project, 0)
        if job_id is not None:
            await record(database, "project_model.training_started", choice.project, job_id=str(job_id))
    request.app.state.dispatcher.wake()
    return await repository.get_status(database, choice.project)


@router.post("/rollback", operation_id="rollBackModel", summary="Take the active model back")
async def roll_back(rollback: Rollback, database: DatabaseDep) -> ModelStatus:
    """Return to the model that was active before, or to the shipped base."""
    if not await repository.roll_back(database, rollback.project, rollback.kind):
        raise HTTPException(409, f"No {rollback.kind} model of project {rollback.project} is active.")
    return await repository.get_status(database, rollback.project)
