"""The state of PostgreSQL, the schema and the ledger. No query reads finished jobs."""

from datetime import UTC, datetime

from api.database import Database
from api.diagnosis.schemas import DatabaseState, JobsState, MigrationsState
from api.queues.repository import find_circuits, find_oldest_due
from api.schema import list_revisions

_DATABASE = """
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS is_replica,
    current_setting('transaction_read_only')::boolean AS is_read_only, clock_timestamp() AS now,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    current_setting('max_connections')::int AS connections_max,
    pg_database_size(current_database()) AS size_bytes
"""
# The states are literals, so that the planner can use the partial indexes.
_UNFINISHED = """
SELECT state, count(*) FROM job WHERE state IN ('pending', 'retrying') GROUP BY state
UNION ALL
SELECT state, count(*) FROM job WHERE state IN ('queued', 'running') GROUP BY state
"""
_DEAD = """
SELECT (SELECT count(*) FROM job WHERE state = 'dead') AS jobs,
    (SELECT count(*) FROM dead_message WHERE state = 'dead') AS messages
"""
_CONTRACTS = """
SELECT message->>'contract_version' AS version, count(*) FROM job
WHERE state IN ('pending', 'retrying') GROUP BY 1
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


async def read_jobs_state(database: Database) -> JobsState:
    """Return the numbers and waiting times of unfinished jobs."""
    dead = await database.fetchrow(_DEAD)
    assert dead is not None
    return JobsState(
        unfinished=dict(await _fetch_pairs(database, _UNFINISHED)),
        oldest_due_s={queue: age for queue, age in (await find_oldest_due(database)).items() if age is not None},
        dead_jobs=dead["jobs"],
        dead_messages=dead["messages"],
        open_circuits={circuit["task"]: circuit["error"] for circuit in await find_circuits(database)},
        contract_versions=dict(await _fetch_pairs(database, _CONTRACTS)),
    )


async def _fetch_pairs(database: Database, sql: str) -> list[tuple[str, int]]:
    return [tuple(row) for row in await database.fetch(sql)]
