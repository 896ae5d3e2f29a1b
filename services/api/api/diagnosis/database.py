"""The state of PostgreSQL, the schema and the ledger. No query reads finished jobs."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from api.database import Database
from api.diagnosis.schemas import DatabaseState, JobsState, MigrationsState
from api.pauses.repository import find_pauses
from api.pauses.schemas import Pause
from api.queues.repository import count_dead_messages, find_circuits, find_waiting_times
from api.schedules.repository import find_missing, find_overdue
from api.schema import list_revisions
from contracts.ledger.queries import COUNT_BY_CONTRACT, COUNT_DEAD, COUNT_UNFINISHED

_DATABASE = """
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS is_replica,
    current_setting('transaction_read_only')::boolean AS is_read_only, clock_timestamp() AS now,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    current_setting('max_connections')::int AS connections_max,
    pg_database_size(current_database()) AS size_bytes
"""


async def read_database_state(database: Database) -> DatabaseState:
    """Return the state of PostgreSQL."""
    before = datetime.now(UTC)
    row = await database.fetchrow(_DATABASE)
    assert row is not None
    middle = before + (datetime.now(UTC) - before) / 2
    return DatabaseState(**row, clock_ahead_s=(row["now"] - middle).total_seconds())


async def read_migrations_state(database: Database) -> MigrationsState:
    """Return the current schema revision and the newest one."""
    head, *before = list_revisions()
    current: str | None = None
    if await database.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
        current = await database.fetchval("SELECT version_num FROM alembic_version")
    return MigrationsState(
        current=current, head=head, is_newer=current is not None and current not in {head, *before}
    )


async def read_jobs_state(database: Database, running_max: int | None, recent: Collection[str]) -> JobsState:
    """Return the numbers of unfinished jobs, and the waiting times of `find_waiting_times`."""
    waiting = await find_waiting_times(database, running_max, recent)
    return JobsState(
        unfinished=dict(await _fetch_pairs(database, COUNT_UNFINISHED.sql)),
        oldest_due_s=_select_ages(waiting, "foreground_s"),
        oldest_background_s=_select_ages(waiting, "background_s"),
        dead_jobs=await database.fetchval(COUNT_DEAD.sql),
        dead_messages=await count_dead_messages(database),
        open_circuits={circuit["task"]: circuit["error"] for circuit in await find_circuits(database)},
        pauses=[Pause(**row) for row in await find_pauses(database)],
        overdue_schedules_s=await find_overdue(database),
        missing_schedules=await find_missing(database),
        contract_versions=dict(await _fetch_pairs(database, COUNT_BY_CONTRACT.sql)),
    )


def _select_ages(rows: Mapping[str, Mapping[str, float | None]], kind: str) -> dict[str, float]:
    return {queue: age for queue, row in rows.items() if (age := row[kind]) is not None}


async def _fetch_pairs(database: Database, sql: str) -> list[tuple[str, int]]:
    return [tuple(row) for row in await database.fetch(sql)]
