"""Request and response models of the model endpoints."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.issues.schemas import Project
from contracts.limits import DEFAULT_PROJECT
from contracts.states import JobState, ModelKind


class ProjectModel(BaseModel):
    """A model trained on a project's confirmed tags, stored as a delta to the base model."""

    id: UUID
    kind: ModelKind
    base_version: str
    examples: int = Field(description="Number of confirmed issues in the training set")
    metrics: dict[str, JsonValue] = Field(
        description="Metrics on held-out issues, of this model and of the one that was active before"
    )
    is_active: bool
    created_at: datetime


class Training(BaseModel):
    """A training run of a project's models."""

    job_id: UUID
    status: JobState
    error: str | None


class ModelStatus(BaseModel):
    """A project's models and newest training."""

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
    training: Training | None = Field(description="Newest training run")
    models: list[ProjectModel] = Field(
        description="Newest first. If none is active, the shipped base model is used"
    )


class ProjectChoice(BaseModel):
    """The project to train."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"project": "acme/shop"}]})

    project: Project = DEFAULT_PROJECT


class Rollback(ProjectChoice):
    """The model to roll back."""

    kind: ModelKind = ModelKind.TYPE
