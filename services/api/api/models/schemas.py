"""What the model endpoints take and answer."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.issues.schemas import Project
from contracts.limits import DEFAULT_PROJECT
from contracts.states import JobState, ModelKind


class ProjectModel(BaseModel):
    """A delta that was learned from a project's confirmed tags."""

    id: UUID
    kind: ModelKind
    base_version: str
    examples: int = Field(description="Confirmed issues that it was trained on")
    metrics: dict[str, JsonValue] = Field(
        description="On issues that it had not seen, beside what was active then"
    )
    is_active: bool
    created_at: datetime


class Training(BaseModel):
    """A run that learns a project's models."""

    job_id: UUID
    status: JobState
    error: str | None


class ModelStatus(BaseModel):
    """What a project has taught, and what is made of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "project": "acme/shop",
                    "confirmed_issues": 31,
                    "training": {
                        "job_id": "01a20614-800f-7a10-9a1b-8c5f8f2c0d11",
                        "status": "succeeded",
                        "error": None,
                    },
                    "models": [],
                }
            ]
        }
    )

    project: str
    confirmed_issues: int
    training: Training | None = Field(description="The newest run")
    models: list[ProjectModel] = Field(
        description="The newest first; where none is active the shipped base answers"
    )


class ProjectChoice(BaseModel):
    """Which project is meant."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"project": "acme/shop"}]})

    project: Project = DEFAULT_PROJECT


class Rollback(ProjectChoice):
    """Which of a project's models to take back."""

    kind: ModelKind = ModelKind.TYPE
