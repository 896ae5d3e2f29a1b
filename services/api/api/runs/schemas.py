"""Response models of the run endpoints."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.states import JobState

EXAMPLE: dict[str, Any] = {
    "id": "01a20614-800f-7a10-9a1b-8c5f8f2c0d11",
    "issue_id": "01a20614-800e-771f-862f-526a86f415ac",
    "state": "succeeded",
    "attempts": 1,
    "created_at": "2026-11-24T09:55:10.120394Z",
    "next_attempt_at": None,
    "started_at": "2026-11-24T09:55:10.181044Z",
    "finished_at": "2026-11-24T09:55:10.304127Z",
    "error": None,
    "note": None,
    "summary": "AI Summary: Login button does nothing on Safari",
    "provider": "local",
    "model": "linear-lexicon",
}


class Run(BaseModel):
    """One enrichment run of an issue: scheduled, running, or finished."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: UUID = Field(description="Id of the job and of the Celery task")
    issue_id: UUID
    state: JobState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = Field(description="Scheduled time of a waiting run")
    started_at: datetime | None = Field(description="Start of the newest attempt")
    finished_at: datetime | None
    error: str | None = Field(description="Error of the newest failed attempt")
    note: str | None = Field(description="Reason for discarding or skipping it")
    summary: str | None
    provider: str | None = Field(description="Provider of the result")
    model: str | None


class RunPage(BaseModel):
    """A page of runs, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [EXAMPLE], "next_cursor": None}]})

    items: list[Run]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page")
