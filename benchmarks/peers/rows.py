"""The rows that peers work on: `runs` counts how often each was worked on."""

import asyncio
import os
import threading
import time
from functools import cache

import asyncpg
import psycopg2

DATABASE_URL = os.environ["DATABASE_URL"]
REDIS_URL = os.environ["CELERY_BROKER_URL"]
WORK_S = float(os.environ.get("WORK_S", "0"))

_INSERT = "INSERT INTO item (title) SELECT 'Issue ' || n FROM generate_series(1, %s) n RETURNING id"
_UPDATE = "UPDATE item SET ai_summary = 'AI Summary: ' || title, tags = 'bug', runs = runs + 1 WHERE id = "

_local = threading.local()


def _execute(sql: str, value: int) -> "psycopg2.extensions.cursor":
    # One connection a thread, and none that a fork has brought along.
    if getattr(_local, "pid", None) != os.getpid():
        _local.pid, _local.connection = os.getpid(), psycopg2.connect(DATABASE_URL)
        _local.connection.autocommit = True
    cursor: psycopg2.extensions.cursor = _local.connection.cursor()
    cursor.execute(sql, [value])
    return cursor


def insert(count: int) -> list[int]:
    """Insert so many rows that wait; return their ids."""
    return [row[0] for row in _execute(_INSERT, count)]


def _seconds(item_id: int) -> float:
    """Return how long a row takes, on average WORK_S: those that begin together do not end together."""
    return WORK_S * (item_id % 11) / 5


def work(item_id: int) -> None:
    """Do the work of one row."""
    time.sleep(_seconds(item_id))
    _execute(f"{_UPDATE}%s", item_id)


@cache
def _pool() -> "asyncio.Future[asyncpg.Pool[asyncpg.Record]]":
    return asyncio.ensure_future(_open())


async def _open() -> "asyncpg.Pool[asyncpg.Record]":
    return await asyncpg.create_pool(DATABASE_URL, min_size=1, max_size=10)


async def work_async(item_id: int) -> None:
    """Do the work of one row."""
    await asyncio.sleep(_seconds(item_id))
    pool = await _pool()
    await pool.execute(f"{_UPDATE}$1", item_id)
