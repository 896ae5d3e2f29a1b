"""The messages that travel through the broker: small, JSON, versioned, never the only copy of anything.

A reader ignores fields that it does not know, so a minor version may add optional ones; whatever else
changes is a new major version. `tests/unit/contracts/test_compatibility.py` holds models to that.
"""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.names import Task


class Message(BaseModel):
    """What every task's message carries. The job's id is also the Celery task id."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    contract_version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    job_id: UUID


class EnrichIssue(Message):
    """Asks for one issue's enrichment."""

    issue_id: UUID


MESSAGE_OF: dict[Task, type[Message]] = {Task.ENRICH_ISSUE: EnrichIssue}
"""The message that each task takes."""
