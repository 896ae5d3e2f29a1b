"""The table, and the bodies of the request and the response."""

import os
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DATABASE_URL = os.environ["DATABASE_URL"]


class Base(DeclarativeBase):
    """Registry of the tables."""


class Issue(Base):
    """An issue."""

    __tablename__ = "issue"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    title: Mapped[str]
    description: Mapped[str]
    priority: Mapped[str]
    status: Mapped[str] = mapped_column(default="open")
    ai_summary: Mapped[str | None]
    tags: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class IssueCreate(BaseModel):
    """The request's body."""

    title: str = Field(min_length=1, max_length=255)
    description: str = ""
    priority: Literal["low", "medium", "high", "critical"] = "medium"


class IssueOut(IssueCreate):
    """The response's body."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    status: str
    ai_summary: str | None
    tags: str
    created_at: datetime
    updated_at: datetime
