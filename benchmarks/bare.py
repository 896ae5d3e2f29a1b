"""The least that stores a row: FastAPI, asyncpg, one INSERT, no job. `uvicorn benchmarks.bare:app`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI, Request

from benchmarks.naive.models import IssueCreate

_TABLE = """
CREATE TABLE IF NOT EXISTS issue (
    id uuid PRIMARY KEY, title text NOT NULL, description text NOT NULL, priority text NOT NULL,
    ai_summary text, created_at timestamptz NOT NULL DEFAULT now()
)
"""
_INSERT = "INSERT INTO issue (id, title, description, priority) VALUES ($1, $2, $3, $4) RETURNING *"


class Issue(IssueCreate):
    """The response's body."""

    id: UUID
    created_at: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool."""
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10) as pool:
        await pool.execute(_TABLE)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/api/v1/issues", status_code=201, response_model=Issue)
async def create_issue(new: IssueCreate, request: Request) -> Any:
    """Store the issue."""
    row = await request.app.state.pool.fetchrow(_INSERT, uuid4(), new.title, new.description, new.priority)
    return dict(row)


@app.get("/livez")
async def livez() -> dict[str, str]:
    """Return 200."""
    return {"status": "alive"}
