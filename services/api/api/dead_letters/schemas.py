"""What the dead-letter endpoints take and answer."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from api.paging import PageQuery
from api.text import NOT_BLANK, NOT_NUL
from api.timestamps import Timestamp
from contracts.states import FailureKind

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), NOT_NUL, NOT_BLANK]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), NOT_NUL, NOT_BLANK]

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
    """A job of the ledger that has used up its attempts, or a message that is no job."""

    JOB = "job"
    MESSAGE = "message"


class Filter(BaseModel):
    """Which dead letters; each condition that is given holds."""

    model_config = ConfigDict(extra="forbid")

    task: Line | None = None
    queue: Line | None = None
    error: Line | None = Field(default=None, description="The error's class: what stands before the first colon")
    died_after: Timestamp | None = None
    died_before: Timestamp | None = None
    q: Line | None = Field(default=None, description="Words as they stand in the error, in any case")


class DeadLetterQuery(PageQuery, Filter):
    """Which dead letters to list."""

    kind: DeadLetterKind | None = None


class Replay(Filter):
    """Which dead jobs to run again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error": "ProviderError", "dry_run": True}]})

    dry_run: StrictBool = Field(default=False, description="Only tell which are meant")


class ErrorCount(BaseModel):
    """How many dead jobs have an error."""

    error: str | None = Field(description="The error's class")
    count: int


class Replayed(BaseModel):
    """What a bulk replay has done, or would do."""

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
    replayed: int = Field(description="Below `matched` where there are more than one call replays: call again")
    errors: list[ErrorCount] = Field(description="Of those that match, the most frequent first")


class DeadLetter(BaseModel):
    """A dead letter as the list shows it."""

    id: UUID
    kind: DeadLetterKind
    state: str = Field(description="`dead` until a person has decided")
    queue: str
    task: str | None = Field(description="Null for a message")
    issue_id: UUID | None
    attempts: int
    error: str | None
    died_at: datetime | None = Field(description="Null for a job that runs again")


class Attempt(BaseModel):
    """An attempt that failed."""

    attempt: int
    kind: FailureKind
    worker: str | None
    error: str
    traceback: str | None
    started_at: datetime | None
    failed_at: datetime


class DeadLetterDetail(DeadLetter):
    """A dead letter with all that is known of it."""

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

    message: dict[str, Any] | None = Field(description="A job's message")
    raw: str | None = Field(description="A message as it lay in its queue; bytes that are no UTF-8 are escaped")
    failures: list[Attempt]
    note: str | None = Field(description="Why it was discarded")


class DeadLetterPage(BaseModel):
    """A page of dead letters, the newest ids first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [EXAMPLE], "next_cursor": None}]})

    items: list[DeadLetter]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")


class Decision(BaseModel):
    """What became of a dead letter."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": EXAMPLE["id"], "kind": "job", "state": "pending"}]}
    )

    id: UUID
    kind: DeadLetterKind
    state: str


class Discard(BaseModel):
    """Why a dead letter is given up."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "A test message"}]})

    reason: Reason
