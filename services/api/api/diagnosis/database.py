"""What the API sees of PostgreSQL, the schema and the ledger. Nothing reads the jobs that are done."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from api.database import Database
from api.diagnosis.schemas import DatabaseState, JobsState, MigrationsState

MIGRATIONS = Path(__file__).parents[2] / "migrations"

_DATABASE = """
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS is_replica, clock_timestamp() AS now,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    current_setting('max_connections')::int AS connections_max,
    pg_database_size(current_database()) AS size_bytes
"""
# The states are constants, so that the partial indexes serve.
_UNFINISHED = """
SELECT state, count(*) FROM job WHERE state IN ('pending', 'retrying') GROUP BY state
UNION ALL
SELECT state, count(*) FROM job WHERE state IN ('queued', 'running') GROUP BY state
"""
_OLDEST_DUE = """
SELECT queue, extract(epoch FROM now() - min(run_at))::float8 AS seconds FROM (
    SELECT queue, run_at FROM job WHERE state IN ('pending', 'retrying')
    UNION ALL
    SELECT queue, run_at FROM job WHERE state = 'queued'
) waiting WHERE run_at <= now() GROUP BY queue
"""
_DEAD = """
SELECT (SELECT count(*) FROM job WHERE state = 'dead') AS jobs,
    (SELECT count(*) FROM dead_message WHERE state = 'dead') AS messages
"""
_OPEN_CIRCUITS = "SELECT task, last_error FROM circuit WHERE open_until IS NOT NULL"
_CONTRACTS = """
SELECT message->>'contract_version' AS version, count(*) FROM job
WHERE state IN ('pending', 'retrying') GROUP BY 1
"""


async def database_state(database: Database) -> DatabaseState:
    """Return how PostgreSQL itself is."""
    before = datetime.now(UTC)
    row = await database.fetchrow(_DATABASE)
    assert row is not None
    middle = before + (datetime.now(UTC) - before) / 2
    return DatabaseState(**row, clock_ahead_s=(row["now"] - middle).total_seconds())


async def migrations_state(database: Database) -> MigrationsState:
    """Return which migration was the last, and which would be."""
    head, *before = _revisions()
    current: str | None = None
    if await database.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
        current = await database.fetchval("SELECT version_num FROM alembic_version")
    return MigrationsState(
        current=current, head=head, is_newer=current is not None and current not in {head, *before}
    )


async def jobs_state(database: Database) -> JobsState:
    """Return what is not done, and since when it waits."""
    dead = await database.fetchrow(_DEAD)
    assert dead is not None
    return JobsState(
        unfinished=dict(await _pairs(database, _UNFINISHED)),
        oldest_due_s=dict(await _pairs(database, _OLDEST_DUE)),
        dead_jobs=dead["jobs"],
        dead_messages=dead["messages"],
        open_circuits=dict(await _pairs(database, _OPEN_CIRCUITS)),
        contract_versions=dict(await _pairs(database, _CONTRACTS)),
    )


@cache
def _revisions() -> tuple[str, ...]:
    """Return the migrations that this API brings, the newest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - half a second that only a diagnosis needs

    return tuple(script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


async def _pairs(database: Database, sql: str) -> list[tuple[str, int]]:
    return [tuple(row) for row in await database.fetch(sql)]
