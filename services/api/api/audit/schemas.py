"""What the audit endpoint takes and answers."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from api.paging import PageQuery

Word = Annotated[str, Field(min_length=1, max_length=200, pattern="^[^\\x00]*$")]


class AuditQuery(PageQuery):
    """Which entries; each filter narrows."""

    actor: Annotated[Word | None, Field(description="A token's name, `admin-token`, or `anonymous`")] = None
    action: Annotated[Word | None, Field(description="Such as `issue.changed`")] = None
    subject: Annotated[Word | None, Field(description="The id or name of what was changed")] = None
    since: Annotated[AwareDatetime | None, Field(description="From then on")] = None
    until: Annotated[AwareDatetime | None, Field(description="Before then")] = None


class AuditEntry(BaseModel):
    """Who changed what, and when."""

    id: UUID
    actor: str
    actor_id: UUID | None = Field(description="The token's id: names may be given again")
    action: str
    subject: str
    detail: dict[str, Any]
    created_at: datetime


class AuditPage(BaseModel):
    """A page of the audit log, newest first."""

    items: list[AuditEntry]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")
