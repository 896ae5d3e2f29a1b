"""What the issue endpoints take and answer."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from contracts.limits import DEFAULT_PROJECT, DESCRIPTION_MAX, PROJECT_PATTERN, TITLE_MAX
from contracts.states import IssueStatus, JobState, Priority


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("string_nul", "String should not contain NUL bytes")
    return value


Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_MAX),
    AfterValidator(_no_nul),
]
Project = Annotated[str, StringConstraints(pattern=PROJECT_PATTERN)]
Description = Annotated[str, StringConstraints(max_length=DESCRIPTION_MAX), AfterValidator(_no_nul)]


class IssueCreate(BaseModel):
    """A new issue, as its reporter writes it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "title": "Login button does nothing on Safari",
                    "description": "Since the last release a click on the login button has no effect.",
                    "priority": "high",
                }
            ]
        },
    )

    title: Title
    description: Description = ""
    priority: Priority = Priority.MEDIUM
    project: Project = Field(
        default=DEFAULT_PROJECT, description="Whose habits of tagging it follows, such as `acme/shop`"
    )


class EnrichmentState(BaseModel):
    """How far the newest enrichment of an issue has come."""

    status: JobState
    attempts: int
    next_retry_at: datetime | None = Field(description="When a retrying job runs again")
    error: str | None = Field(description="The last attempt's error, where it failed")


class Issue(BaseModel):
    """An issue and what was made of it."""

    id: UUID
    project: str
    title: str
    description: str
    priority: Priority
    status: IssueStatus
    ai_summary: str | None
    tags: list[str]
    tags_confirmed_at: datetime | None = Field(description="When a person set the tags; no run overwrites them")
    enrichment: EnrichmentState | None
    created_at: datetime
    updated_at: datetime


class IssuePage(BaseModel):
    """A page of issues, newest first."""

    items: list[Issue]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")
