"""The API: `uvicorn benchmarks.naive.api:app`.

An async session, as FastAPI's templates have it: of the usual ways the faster one (docs/benchmarks.md).
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.naive.models import DATABASE_URL, Issue
from benchmarks.naive.worker import enrich_issue

engine = create_async_engine(DATABASE_URL.replace("postgresql:", "postgresql+asyncpg:"), pool_size=10)
Session = async_sessionmaker(engine)


class IssueCreate(BaseModel):
    """What comes in."""

    title: str = Field(min_length=1, max_length=255)
    description: str = ""
    priority: Literal["low", "medium", "high", "critical"] = "medium"


class IssueOut(IssueCreate):
    """What goes out."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    status: str
    ai_summary: str | None
    tags: str
    created_at: datetime
    updated_at: datetime


async def get_session() -> AsyncIterator[AsyncSession]:
    """Give each request a session."""
    async with Session() as session:
        yield session


app = FastAPI()


@app.post("/api/v1/issues", status_code=201, response_model=IssueOut)
async def create_issue(new: IssueCreate, session: Annotated[AsyncSession, Depends(get_session)]) -> Issue:
    """Store the issue, then hand it over."""
    issue = Issue(**new.model_dump())
    session.add(issue)
    await session.commit()
    await session.refresh(issue)
    enrich_issue.delay(str(issue.id))
    return issue


@app.get("/livez")
async def livez() -> dict[str, str]:
    """Answer."""
    return {"status": "alive"}
