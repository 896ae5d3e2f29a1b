"""The rows that the peers work on: `runs` counts how often each was worked on."""

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    import asyncpg

DATABASE_URL = os.environ["DATABASE_URL"]
REDIS_URL = os.environ["CELERY_BROKER_URL"]
WORK_S = float(os.environ.get("WORK_S", "0"))

_INSERT = "INSERT INTO item (title) SELECT 'Issue ' || n FROM generate_series(1, %s) n RETURNING id"
_UPDATE = "UPDATE item SET ai_summary = 'AI Summary: ' || title, tags = 'bug', runs = runs + 1 WHERE id = "

_local = threading.local()


def _execute(sql: str, value: int) -> "psycopg2.extensions.cursor":
    # One connection per thread and per process: a fork must not use its parent's.
    if getattr(_local, "pid", None) != os.getpid():
        _local.pid, _local.connection = os.getpid(), psycopg2.connect(DATABASE_URL)
        _local.connection.autocommit = True
    cursor: psycopg2.extensions.cursor = _local.connection.cursor()
    cursor.execute(sql, [value])
    return cursor


def insert(count: int) -> list[int]:
    """Insert `count` rows and return their ids."""
    return [row[0] for row in _execute(_INSERT, count)]


def _seconds(item_id: int) -> float:
    """Return how long a row takes, on average WORK_S: rows that start together end apart."""
    return WORK_S * (item_id % 11) / 5


def work(item_id: int) -> None:
    """Do the work of one row."""
    time.sleep(_seconds(item_id))
    _execute(f"{_UPDATE}%s", item_id)


async def work_async(pool: "asyncpg.Pool[asyncpg.Record]", item_id: int) -> None:
    """Do the work of one row."""
    await asyncio.sleep(_seconds(item_id))
    await pool.execute(f"{_UPDATE}$1", item_id)
