"""The messages that travel through the broker. They are small, versioned JSON; the ledger stores a copy of each.

A reader ignores unknown fields, so a minor version may add optional fields. Any other change needs a new major
version. `tests/unit/contracts/test_compatibility.py` checks this rule.
"""

import re
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts import CONTRACT_VERSION
from contracts.limits import CONTRACT_VERSION_PATTERN, PROJECT_PATTERN, REQUEST_ID_PATTERN, TRACEPARENT_PATTERN
from contracts.names import Task
from contracts.states import RejectionReason


class Message(BaseModel):
    """The fields of every task's message. The job's id is also the Celery task id."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    contract_version: str = Field(pattern=CONTRACT_VERSION_PATTERN)
    job_id: UUID
    request_id: str | None = Field(default=None, pattern=REQUEST_ID_PATTERN)
    """The id of the HTTP request that caused the work. A job copies it to the jobs that it creates."""
    traceparent: str | None = Field(default=None, pattern=TRACEPARENT_PATTERN)
    """The span that caused the work (W3C Trace Context), if tracing is on."""

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object that is stored with the job and published."""
        return self.model_dump(mode="json", exclude_none=True)


class EnrichIssue(Message):
    """Requests the enrichment of one issue."""

    issue_id: UUID


class IndexIssue(Message):
    """Requests the indexing of one issue for full-text and similarity search."""

    issue_id: UUID


class Retrain(Message):
    """Requests the retraining of a project's models on its confirmed tags."""

    project: str = Field(pattern=PROJECT_PATTERN)


class Prune(Message):
    """Requests the deletion of history that is older than the retention time."""


class DeliverWebhook(Message):
    """Requests the delivery of one event to one webhook.

    The job's id is also the id of the delivery and its `webhook-id` header.
    """

    webhook_id: UUID


MESSAGE_OF: dict[Task, type[Message]] = {
    Task.ENRICH_ISSUE: EnrichIssue,
    Task.INDEX_ISSUE: IndexIssue,
    Task.RETRAIN: Retrain,
    Task.PRUNE: Prune,
    Task.DELIVER_WEBHOOK: DeliverWebhook,
}
"""The message class of each task."""


class RejectedMessage(BaseModel):
    """A message that a worker cannot run, and the reason; stored in `contracts.names.REJECTED_MESSAGES_KEY`."""

    # The title names the schema's file. Release 0.1.0 uses this name.
    model_config = ConfigDict(
        title="RefusedMessage", extra="ignore", frozen=True, ser_json_bytes="base64", val_json_bytes="base64"
    )

    contract_version: str = Field(pattern=CONTRACT_VERSION_PATTERN)
    queue: str
    reason: RejectionReason
    error: str
    worker: str
    job_id: UUID | None
    """The message's task id, if it is a UUID."""
    raw: bytes


class WorkerHeartbeat(BaseModel):
    """The state of a consuming worker, stored in a Redis key that expires."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    contract_version: str = Field(pattern=CONTRACT_VERSION_PATTERN)
    worker: str
    queues: list[str]
    processes: int
    at: datetime
    """The time by the worker's own clock."""


EVENTS: tuple[type[BaseModel], ...] = (RejectedMessage, WorkerHeartbeat)
"""The messages between services that are not tasks."""


class Skew(StrEnum):
    """How a message's contract version compares with this package's."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"


def classify_skew(contract_version: str) -> Skew | None:
    """Compare a message's full version with this package's; return None if it is not a version."""
    if re.fullmatch(CONTRACT_VERSION_PATTERN, contract_version) is None:
        return None
    written, ours = (tuple(map(int, version.split("."))) for version in (contract_version, CONTRACT_VERSION))
    if written == ours:
        return Skew.SAME
    return Skew.NEWER if written > ours else Skew.OLDER


def is_newer(contract_version: str) -> bool:
    """Return whether a message's major version is above the one that this package reads."""
    is_version = re.fullmatch(CONTRACT_VERSION_PATTERN, contract_version) is not None
    return is_version and _major(contract_version) > _major(CONTRACT_VERSION)


def _major(version: str) -> int:
    return int(version.partition(".")[0])
