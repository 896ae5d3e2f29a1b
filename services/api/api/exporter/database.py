"""Read the state of PostgreSQL and the ledger."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg

from contracts.ledger.classes import class_name
from contracts.ledger.pauses import FIND_PAUSES
from contracts.ledger.queries import (
    COUNT_BY_CLASS,
    COUNT_BY_PROJECT,
    COUNT_BY_TASK,
    FIND_AT_LIMIT,
    OPEN_CIRCUITS,
    WAITING_TIMES,
)
from contracts.names import Queue
from contracts.states import DeadMessageState

Found = TypeVar("Found")

TIMEOUT_S = 2
"""Timeout of the connection and of each query."""
TOTAL_TIMEOUT_S = 6
"""Timeout of all queries: below the 10 s scrape timeout of Prometheus."""
SESSION = {"application_name": "issuetracker-exporter", "enable_sort": "off", "jit": "off"}
"""Without statistics on the JSON, the planner would sort a backlog, which no query needs. Compiling takes longer
than running a query."""

_UNAVAILABLE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""OSError includes TimeoutError."""

_SERVER = """
SELECT NOT current_setting('transaction_read_only')::boolean AS is_writable,
    pg_database_size(current_database()) AS size,
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections
"""
_VERSION = "SELECT version_num FROM alembic_version"

_SCHEDULES = """
SELECT name, extract(epoch FROM next_run_at)::float8 AS next_run,
    coalesce(extract(epoch FROM greatest(now() - next_run_at, '0')), 0)::float8 AS overdue_s
FROM schedule ORDER BY name
"""

_DEAD_MESSAGES = "SELECT count(*) FROM dead_message WHERE state = $1"


@dataclass(frozen=True, slots=True)
class JobCount:
    """Number of jobs by task, queue, state, and contract version if they are unfinished."""

    task: str
    queue: str
    state: str
    contract: str | None
    number: int


@dataclass(slots=True)
class DatabaseState:
    """State of the server and the ledger.

    A part is None if its query timed out or its table is missing.
    """

    is_writable: bool
    """False for a standby, or a primary that a failover has replaced."""
    size: int
    connections: int
    version: str | None = None
    """Revision of the schema."""
    jobs: list[JobCount] | None = None
    dead_messages: int | None = None
    open_circuits: set[str] | None = None
    pauses: set[tuple[str, str]] | None = None
    """Kind and name of each pause."""
    schedules: dict[str, asyncpg.Record] | None = None
    """By name, `next_run` (in seconds since 1970, or None if disabled) and `overdue_s` (0 if it is not)."""
    waiting_times: dict[str, asyncpg.Record] | None = None
    """`WAITING_TIMES` by queue."""
    by_class: dict[str, int] | None = None
    """Unpublished due jobs by priority class."""
    by_project: dict[str, int] | None = None
    """Unpublished due jobs of the projects with the most."""


async def read(url: str, running_max: int | None) -> DatabaseState | None:
    """Return the state of PostgreSQL, or None if it does not respond in time.

    `running_max` limits the projects without a limit of their own.
    """
    state: DatabaseState | None = None
    connection: Any = None
    try:
        async with asyncio.timeout(TOTAL_TIMEOUT_S):
            connection = await asyncpg.connect(
                url, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S, server_settings=SESSION
            )
            state = DatabaseState(**await connection.fetchrow(_SERVER))
            await _read_ledger(connection, state, running_max)
            await connection.close()
    except _UNAVAILABLE_ERRORS:
        pass
    finally:
        if connection is not None:
            connection.terminate()
    return state


async def _read_ledger(connection: Any, state: DatabaseState, running_max: int | None) -> None:
    async def query(sql: str, *values: Any) -> list[asyncpg.Record] | None:
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *values)
        except (TimeoutError, asyncpg.PostgresError):
            return None
        return rows

    queues = list(Queue)
    # The slowest query comes last.
    state.version = _map(await query(_VERSION), lambda rows: rows[0][0] if rows else None)
    limited = await query(*FIND_AT_LIMIT.bind(running_max=running_max))
    if limited is not None:
        at_limit = [row["project"] for row in limited]
        waiting = await query(*WAITING_TIMES.bind(queues=queues, at_limit=at_limit))
        state.waiting_times = _map(waiting, lambda rows: {row["queue"]: row for row in rows})
    state.open_circuits = _map(await query(OPEN_CIRCUITS), lambda rows: {row["task"] for row in rows})
    pauses = await query(FIND_PAUSES.sql)
    state.pauses = _map(pauses, lambda rows: {(row["kind"], row["name"]) for row in rows})
    schedules = await query(_SCHEDULES)
    state.schedules = _map(schedules, lambda rows: {row["name"]: row for row in rows})
    state.dead_messages = _map(await query(_DEAD_MESSAGES, DeadMessageState.DEAD), lambda rows: int(rows[0][0]))
    by_class = await query(*COUNT_BY_CLASS.bind(queues=queues))
    state.by_class = _map(
        by_class, lambda rows: {class_name(row["priority_class"]): row["waiting"] for row in rows}
    )
    by_project = await query(*COUNT_BY_PROJECT.bind(queues=queues))
    state.by_project = _map(by_project, lambda rows: {row["project"]: row["waiting"] for row in rows})
    state.jobs = _map(await query(COUNT_BY_TASK.sql), lambda rows: [JobCount(**row) for row in rows])


def _map(rows: list[asyncpg.Record] | None, read: Callable[[list[asyncpg.Record]], Found]) -> Found | None:
    return None if rows is None else read(rows)
