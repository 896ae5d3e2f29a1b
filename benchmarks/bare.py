"""The least that stores a row: FastAPI, asyncpg, one INSERT, no job. `uvicorn benchmarks.bare:app`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

_TABLE = """
CREATE TABLE IF NOT EXISTS issue (
    id uuid PRIMARY KEY, title text NOT NULL, description text NOT NULL, priority text NOT NULL,
    ai_summary text, created_at timestamptz NOT NULL DEFAULT now()
)
"""
_INSERT = "INSERT INTO issue (id, title, description, priority) VALUES ($1, $2, $3, $4) RETURNING *"


class IssueCreate(BaseModel):
    """What comes in."""

    title: str = Field(min_length=1, max_length=255)
    description: str = ""
    priority: Literal["low", "medium", "high", "critical"] = "medium"


class Issue(IssueCreate):
    """What goes out."""

    id: UUID
    created_at: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Hold the pool."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10) as pool:
        await pool.execute(_TABLE)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/api/v1/issues", status_code=201, response_model=Issue)
async def create_issue(new: IssueCreate, request: Request) -> Any:
    """Store the issue; nobody will work on it."""
    row = await request.app.state.pool.fetchrow(_INSERT, uuid4(), new.title, new.description, new.priority)
    return dict(row)


@app.get("/livez")
async def livez() -> dict[str, str]:
    """Answer."""
    return {"status": "alive"}
