"""Request and response models of the dead-letter endpoints."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from api.paging import PageQuery
from api.text import NOT_BLANK, NOT_NUL, VISIBLE
from api.timestamps import Timestamp
from contracts.states import FailureKind

Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), NOT_NUL, VISIBLE, NOT_BLANK
]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), NOT_NUL, VISIBLE, NOT_BLANK
]

EXAMPLE: dict[str, Any] = {
    "id": "01a20614-800f-7a10-9a1b-8c5f8f2c0d11",
    "kind": "job",
    "state": "dead",
    "queue": "issues",
    "task": "app.tasks.issues.enrich_issue",
    "issue_id": "01a20614-800e-771f-862f-526a86f415ac",
    "attempts": 4,
    "error": "ProviderError: status 503",
    "died_at": "2026-11-24T10:02:11.412345Z",
}


class DeadLetterKind(StrEnum):
    """A job that has failed permanently, or a message that is not a job."""

    JOB = "job"
    MESSAGE = "message"


class Filter(BaseModel):
    """Filters of dead letters; a dead letter must match all of them."""

    model_config = ConfigDict(extra="forbid")

    task: Line | None = None
    queue: Line | None = None
    error: Line | None = Field(default=None, description="Class of the error: the text before the first colon")
    died_after: Timestamp | None = None
    died_before: Timestamp | None = None
    q: Line | None = Field(default=None, description="Text that the error contains, in upper or lower case")


class DeadLetterQuery(PageQuery, Filter):
    """Filters and paging of the list of dead letters."""

    kind: DeadLetterKind | None = None


class Replay(Filter):
    """Filters of the dead jobs to replay."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error": "ProviderError", "dry_run": True}]})

    dry_run: StrictBool = Field(default=False, description="Count the matching jobs without replaying them")


class ErrorCount(BaseModel):
    """Number of dead jobs with an error."""

    error: str | None = Field(description="Class of the error")
    count: int


class Replayed(BaseModel):
    """Result of a bulk replay or of its dry run."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dry_run": True,
                    "matched": 12,
                    "replayed": 0,
                    "errors": [{"error": "ProviderError", "count": 12}],
                }
            ]
        }
    )

    dry_run: bool
    matched: int
    replayed: int = Field(
        description="Lower than `matched` if there are more jobs than one call replays; call again"
    )
    errors: list[ErrorCount] = Field(description="Errors of the matching jobs, most frequent first")


class DeadLetter(BaseModel):
    """A dead letter in a list."""

    id: UUID
    kind: DeadLetterKind
    state: str = Field(description="`dead` until it is replayed or discarded")
    queue: str
    task: str | None = Field(description="Null for a message")
    issue_id: UUID | None
    attempts: int
    error: str | None
    died_at: datetime | None = Field(description="Null for a replayed job")


class Attempt(BaseModel):
    """A failed attempt."""

    attempt: int
    kind: FailureKind
    worker: str | None
    error: str
    traceback: str | None
    started_at: datetime | None
    failed_at: datetime


class DeadLetterDetail(DeadLetter):
    """A dead letter with its message and failed attempts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **EXAMPLE,
                    "message": {
                        "contract_version": "1.0.0",
                        "job_id": EXAMPLE["id"],
                        "issue_id": EXAMPLE["issue_id"],
                    },
                    "raw": None,
                    "failures": [
                        {
                            "attempt": 4,
                            "kind": "transient",
                            "worker": "celery@host/71",
                            "error": EXAMPLE["error"],
                            "traceback": "Traceback (most recent call last): ...",
                            "started_at": "2026-11-24T10:02:10.901234Z",
                            "failed_at": EXAMPLE["died_at"],
                        }
                    ],
                    "note": None,
                }
            ]
        }
    )

    message: dict[str, Any] | None = Field(description="Message of a job")
    raw: str | None = Field(description="Message as stored in its queue; bytes that are not UTF-8 are escaped")
    failures: list[Attempt]
    note: str | None = Field(description="Reason for discarding it")


class DeadLetterPage(BaseModel):
    """A page of dead letters, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [EXAMPLE], "next_cursor": None}]})

    items: list[DeadLetter]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page")


class Decision(BaseModel):
    """State of a dead letter after a decision."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": EXAMPLE["id"], "kind": "job", "state": "pending"}]}
    )

    id: UUID
    kind: DeadLetterKind
    state: str


class Discard(BaseModel):
    """Reason for discarding a dead letter."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "A test message"}]})

    reason: Reason
