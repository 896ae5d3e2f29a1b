"""Request and response models of the pause endpoints."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.dead_letters.schemas import Reason
from contracts.states import PauseKind

EXAMPLE: dict[str, Any] = {
    "kind": "project",
    "name": "acme/shop",
    "reason": "The import had wrong priorities",
    "paused_at": "2026-11-24T10:02:11.412345Z",
    "paused_by": "alice",
}


class Pause(BaseModel):
    """A queue, task or project whose jobs do not start. Running jobs end normally."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    kind: PauseKind
    name: str
    reason: str | None
    paused_at: datetime
    paused_by: str = Field(description="Name of the principal, as in the audit log")


class Pauses(BaseModel):
    """All pauses, by kind and name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [EXAMPLE]}]})

    items: list[Pause]


class PauseRequest(BaseModel):
    """Why to pause."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": EXAMPLE["reason"]}]})

    reason: Reason | None = None
