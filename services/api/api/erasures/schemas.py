"""Request and response models of the erasure endpoints."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.issues.schemas import Project


class ProjectErasure(BaseModel):
    """The project whose issues are erased."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"project": "acme/shop"}]})

    project: Project


class Erasure(BaseModel):
    """The erasure of an issue or a project, without any text."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01a20614-800e-771f-862f-526a86f415ac",
                    "requested_at": "2026-11-24T09:30:00Z",
                    "finished_at": None,
                }
            ]
        }
    )

    id: UUID = Field(description="Id of the issue, or of the erasure of a project")
    requested_at: datetime
    finished_at: datetime | None = Field(description="Null until a worker has erased the text")
