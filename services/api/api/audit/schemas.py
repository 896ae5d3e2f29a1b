"""Request and response models of the audit endpoint."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.paging import CURSOR_MAX, PageQuery
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


class VerificationQuery(BaseModel):
    """Query parameters of a verification."""

    model_config = ConfigDict(extra="forbid")

    head: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{64}$", description="Head of an earlier verification, which the chain must contain"
        ),
    ] = None
    cursor: Annotated[
        str | None,
        Field(max_length=CURSOR_MAX, description="`next_cursor` of the previous page; use the same head"),
    ] = None


class AuditHead(BaseModel):
    """The end of a chain: a hash that depends on every entry before it."""

    number: int = Field(description="Number of the seal, from 1")
    hash: str = Field(description="SHA-256 in hexadecimal digits. Store it outside the database")


class AuditFault(BaseModel):
    """An entry that was tampered with."""

    detail: str
    entry_id: UUID
    number: int | None = Field(description="Number of the seal; null for an entry without a seal")
    created_at: datetime | None = Field(description="Time of the entry; null if the entry does not exist")


class AuditVerification(BaseModel):
    """A page of a verification: first seals in the order of the chain, then entries in the order of their ids."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "seals": 5012,
                    "entries": 0,
                    "waiting": 0,
                    "first_at": None,
                    "last_at": None,
                    "head": {
                        "number": 5012,
                        "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    },
                    "contains_head": None,
                    "fault": None,
                    "next_cursor": "WyI5YmQ1...",
                }
            ]
        }
    )

    seals: int = Field(default=0, description="Number of checked seals")
    entries: int = Field(default=0, description="Number of checked entries")
    waiting: int = Field(default=0, description="Number of entries that are not sealed yet")
    first_at: datetime | None = Field(default=None, description="Time of the oldest checked entry")
    last_at: datetime | None = Field(default=None, description="Time of the newest checked entry")
    head: AuditHead | None = Field(default=None, description="Last checked seal")
    contains_head: bool | None = Field(default=None, description="Whether this page contains the given head")
    fault: AuditFault | None = Field(default=None, description="First fault; the verification ends here")
    next_cursor: str | None = Field(
        default=None, description="Value of `cursor` for the next page; null at the end"
    )


class AuditPage(BaseModel):
    """A page of the audit log, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_EXAMPLE], "next_cursor": None}]})

    items: list[AuditEntry]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page")
