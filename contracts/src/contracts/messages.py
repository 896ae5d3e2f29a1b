"""The messages that travel through the broker: small, JSON, versioned, never the only copy of anything.

A reader ignores fields that it does not know, so a minor version may add optional ones; whatever else
changes is a new major version. `tests/unit/contracts/test_compatibility.py` holds models to that.
"""

import re
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts import CONTRACT_VERSION
from contracts.limits import PROJECT_PATTERN, REQUEST_ID_PATTERN, TRACEPARENT_PATTERN
from contracts.names import Task
from contracts.states import RejectionReason

_VERSION = r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}$"


class Message(BaseModel):
    """What every task's message carries. The job's id is also the Celery task id."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    contract_version: str = Field(pattern=_VERSION)
    job_id: UUID
    request_id: str | None = Field(default=None, pattern=REQUEST_ID_PATTERN)
    """Of the HTTP request that the work goes back to; a job that a job makes passes it on."""
    traceparent: str | None = Field(default=None, pattern=TRACEPARENT_PATTERN)
    """The span that the work goes back to (W3C Trace Context), where traces are on."""

    def as_json(self) -> dict[str, Any]:
        """Return what is stored with the job and published."""
        return self.model_dump(mode="json", exclude_none=True)


class EnrichIssue(Message):
    """Asks for one issue's enrichment."""

    issue_id: UUID


class IndexIssue(Message):
    """Asks for one issue to be made findable by its words and its meaning."""

    issue_id: UUID


class Retrain(Message):
    """Asks for a project's models to be learned anew from its confirmed tags."""

    project: str = Field(pattern=PROJECT_PATTERN)


class Prune(Message):
    """Asks for history to be deleted that is older than it is kept."""


class DeliverWebhook(Message):
    """Asks for one event to be told to one webhook; the job's id is the delivery's, and its `webhook-id`."""

    webhook_id: UUID


MESSAGE_OF: dict[Task, type[Message]] = {
    Task.ENRICH_ISSUE: EnrichIssue,
    Task.INDEX_ISSUE: IndexIssue,
    Task.RETRAIN: Retrain,
    Task.PRUNE: Prune,
    Task.DELIVER_WEBHOOK: DeliverWebhook,
}
"""The message that each task takes."""


class RejectedMessage(BaseModel):
    """What a worker leaves in `contracts.names.REJECTED_MESSAGES_KEY`: a message that it cannot run, and why."""

    # The title names its schema, which release 0.1.0 has by this name.
    model_config = ConfigDict(
        title="RefusedMessage", extra="ignore", frozen=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    contract_version: str = Field(pattern=_VERSION)
    queue: str
    reason: RejectionReason
    error: str
    worker: str
    job_id: UUID | None
    """The message's task id, where it has one that could be a job's."""
    raw: bytes


class WorkerHeartbeat(BaseModel):
    """What a worker that consumes says of itself, in a Redis key that expires."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    contract_version: str = Field(pattern=_VERSION)
    worker: str
    queues: list[str]
    processes: int
    at: datetime
    """By its own clock."""


EVENTS: tuple[type[BaseModel], ...] = (RejectedMessage, WorkerHeartbeat)
"""What services tell each other besides tasks."""


class Skew(StrEnum):
    """How the contract that a message was written by compares with this package's."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"


def skew(contract_version: str) -> Skew | None:
    """Compare a message's version, in all its parts, with this package's; None where it is no version."""
    if re.fullmatch(_VERSION, contract_version) is None:
        return None
    written, known = (tuple(map(int, version.split("."))) for version in (contract_version, CONTRACT_VERSION))
    if written == known:
        return Skew.SAME
    return Skew.NEWER if written > known else Skew.OLDER


def is_newer(contract_version: str) -> bool:
    """Tell whether a message's major version is above the one that this package reads."""
    known = re.fullmatch(_VERSION, contract_version) is not None
    return known and _major(contract_version) > _major(CONTRACT_VERSION)


def _major(version: str) -> int:
    return int(version.partition(".")[0])
