"""The API: `uvicorn benchmarks.naive.api:app`. Its endpoint runs in FastAPI's thread pool, as most do."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.naive.models import DATABASE_URL, Issue
from benchmarks.naive.schemas import IssueCreate, IssueOut
from benchmarks.naive.worker import enrich_issue

engine = create_engine(DATABASE_URL.replace("postgresql:", "postgresql+psycopg2:"), pool_size=10)
SessionLocal = sessionmaker(engine)


def get_session() -> Iterator[Session]:
    """Give each request a session."""
    with SessionLocal() as session:
        yield session


app = FastAPI()


@app.post("/api/v1/issues", status_code=201, response_model=IssueOut)
def create_issue(new: IssueCreate, session: Annotated[Session, Depends(get_session)]) -> Issue:
    """Store the issue, then hand it over."""
    issue = Issue(**new.model_dump())
    session.add(issue)
    session.commit()
    session.refresh(issue)
    enrich_issue.delay(str(issue.id))
    return issue


@app.get("/livez")
async def livez() -> dict[str, str]:
    """Answer."""
    return {"status": "alive"}
