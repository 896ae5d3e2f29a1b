"""The same API as async templates have it: `uvicorn benchmarks.naive.api_async:app`."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.naive.models import DATABASE_URL, Issue
from benchmarks.naive.schemas import IssueCreate, IssueOut
from benchmarks.naive.worker import enrich_issue

engine = create_async_engine(DATABASE_URL.replace("postgresql:", "postgresql+asyncpg:"), pool_size=10)
SessionLocal = async_sessionmaker(engine)


async def get_session() -> AsyncIterator[AsyncSession]:
    """Give each request a session."""
    async with SessionLocal() as session:
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
