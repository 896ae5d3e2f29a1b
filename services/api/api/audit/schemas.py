"""Request and response models of the audit endpoint."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.paging import PageQuery
from api.timestamps import Timestamp

Word = Annotated[str, Field(min_length=1, max_length=200, pattern="^[^\\x00]*$")]


_EXAMPLE: dict[str, JsonValue] = {
    "id": "0197b4f4-8c5e-7a31-9d2b-3f6a1c0e5d77",
    "actor": "alice",
    "actor_id": "0197b4f0-11d2-7c0a-8e55-0b9e2a7f6c31",
    "action": "issue.tags_confirmed",
    "subject": "0197b4f1-5b3c-70d4-a1f7-9c2e8d4b6a05",
    "detail": {"tags": ["bug", "frontend"]},
    "created_at": "2026-11-24T09:30:00Z",
}


class AuditQuery(PageQuery):
    """Filters of the audit log; an entry must match all of them."""

    actor: Annotated[Word | None, Field(description="A token's name, `admin-token`, or `anonymous`")] = None
    action: Annotated[Word | None, Field(description="Such as `issue.changed`")] = None
    subject: Annotated[Word | None, Field(description="Id or name of the changed object")] = None
    since: Annotated[Timestamp | None, Field(description="Only entries at or after this time")] = None
    until: Annotated[Timestamp | None, Field(description="Only entries before this time")] = None


class AuditEntry(BaseModel):
    """One change: its actor, action, subject and time."""

    id: UUID
    actor: str
    actor_id: UUID | None = Field(description="Id of the token, because names can be reused")
    action: str
    subject: str
    detail: dict[str, Any]
    created_at: datetime


class AuditPage(BaseModel):
    """A page of the audit log, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_EXAMPLE], "next_cursor": None}]})

    items: list[AuditEntry]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page")
