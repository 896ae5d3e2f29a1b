"""What the dead-letter endpoints take and answer."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contracts.states import FailureKind


class DeadLetterKind(StrEnum):
    """A job of the ledger that has used up its attempts, or a message that is no job."""

    JOB = "job"
    MESSAGE = "message"


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

    message: dict[str, Any] | None = Field(description="A job's message")
    raw: str | None = Field(description="A message as it lay in its queue; bytes that are no UTF-8 are escaped")
    failures: list[Attempt]
    note: str | None = Field(description="Why it was discarded")


class DeadLetterPage(BaseModel):
    """A page of dead letters, the newest ids first."""

    items: list[DeadLetter]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")


class Decision(BaseModel):
    """What became of a dead letter."""

    id: UUID
    kind: DeadLetterKind
    state: str


class Discard(BaseModel):
    """Why a dead letter is given up."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "A test message"}]})

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
