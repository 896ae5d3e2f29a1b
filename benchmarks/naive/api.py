"""The API: `uvicorn benchmarks.naive.api:app` has a synchronous endpoint, `:async_app` an async one."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.naive.models import DATABASE_URL, Issue, IssueCreate, IssueOut
from benchmarks.naive.worker import enrich_issue

engine = create_engine(DATABASE_URL.replace("postgresql:", "postgresql+psycopg2:"), pool_size=10)
async_engine = create_async_engine(DATABASE_URL.replace("postgresql:", "postgresql+asyncpg:"), pool_size=10)
SessionLocal, AsyncSessionLocal = sessionmaker(engine), async_sessionmaker(async_engine)
app, async_app = FastAPI(), FastAPI()


def get_session() -> Iterator[Session]:
    """Yield a session for the request."""
    with SessionLocal() as session:
        yield session


async def get_async_session() -> AsyncIterator[AsyncSession]:
    """Yield a session for the request."""
    async with AsyncSessionLocal() as session:
        yield session


@app.post("/api/v1/issues", status_code=201, response_model=IssueOut)
def create_issue(new: IssueCreate, session: Annotated[Session, Depends(get_session)]) -> Issue:
    """Store the issue, then queue its enrichment."""
    issue = Issue(**new.model_dump())
    session.add(issue)
    session.commit()
    session.refresh(issue)
    enrich_issue.delay(str(issue.id))
    return issue


@async_app.post("/api/v1/issues", status_code=201, response_model=IssueOut)
async def create_issue_async(
    new: IssueCreate, session: Annotated[AsyncSession, Depends(get_async_session)]
) -> Issue:
    """Store the issue, then queue its enrichment."""
    issue = Issue(**new.model_dump())
    session.add(issue)
    await session.commit()
    await session.refresh(issue)
    enrich_issue.delay(str(issue.id))
    return issue


@app.get("/livez")
@async_app.get("/livez")
async def livez() -> dict[str, str]:
    """Return 200."""
    return {"status": "alive"}
