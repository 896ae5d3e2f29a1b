"""What comes in and what goes out."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class IssueCreate(BaseModel):
    """What comes in."""

    title: str = Field(min_length=1, max_length=255)
    description: str = ""
    priority: Literal["low", "medium", "high", "critical"] = "medium"


class IssueOut(IssueCreate):
    """What goes out."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    status: str
    ai_summary: str | None
    tags: str
    created_at: datetime
    updated_at: datetime
