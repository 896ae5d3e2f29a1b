"""What the run endpoints answer."""

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
    """One enrichment of an issue: planned, under way, or over."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: UUID = Field(description="The job's id, which is also the Celery task id")
    issue_id: UUID
    state: JobState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = Field(description="When a run that waits is due")
    started_at: datetime | None = Field(description="When its newest attempt began")
    finished_at: datetime | None
    error: str | None = Field(description="The newest failed attempt's error")
    note: str | None = Field(description="Why it was discarded or skipped")
    summary: str | None
    provider: str | None = Field(description="Who made the result")
    model: str | None


class RunPage(BaseModel):
    """A page of runs, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [EXAMPLE], "next_cursor": None}]})

    items: list[Run]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")
