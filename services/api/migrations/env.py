"""Alembic's environment: one migrator at a time, one transaction per migration, and short lock timeouts."""

from __future__ import annotations

import asyncio
import time

import asyncpg
from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from contracts.faults import allow_message_in_logs
from contracts.logs import configure_logging, log_unhandled
from contracts.settings import Settings, load
from contracts.tables import Base

MIGRATION_LOCK = 0x1550_7AC4
"""Key of the advisory lock that makes a second migrator wait for the first."""
TURN_POLL_S = 0.2
LOCK_TIMEOUT = "4s"
"""A migration that waits for a table lock blocks every later query. It fails instead, and is retried."""
STATEMENT_TIMEOUT = "60s"
OPTIONAL_INDEXES = frozenset({"ix_issue_search_embedding"})
"""Indexes that require an optional extension; `alembic check` ignores them."""

# Their messages contain only locks, times and schema names.
allow_message_in_logs(
    asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError, asyncpg.exceptions.SyntaxOrAccessError
)


def include_object(_item: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """Return whether Alembic compares an object with the models; the signature is Alembic's."""
    return kind != "index" or name not in OPTIONAL_INDEXES


def wait_for_turn(connection: Connection) -> None:
    """Acquire the migration lock by polling.

    A blocking statement would hold a snapshot, and CREATE INDEX CONCURRENTLY waits for all older snapshots. A
    migrator that builds an index and one that waits for the lock would deadlock.
    """
    while not connection.scalar(text(f"SELECT pg_try_advisory_lock({MIGRATION_LOCK})")):
        connection.rollback()
        time.sleep(TURN_POLL_S)


def migrate(connection: Connection) -> None:
    """Run the migrations of Alembic's command."""
    wait_for_turn(connection)
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transaction_per_migration=True,
        compare_server_default=True,
        include_object=include_object,
    )
    with context.begin_transaction():
        context.run_migrations()
    grant_access(connection)


def grant_access(connection: Connection) -> None:
    """Grant the roles of the components their rights on new tables; migration 0019."""
    if connection.scalar(text("SELECT to_regprocedure('grant_access()') IS NOT NULL")):
        connection.execute(text("SELECT grant_access()"))
    connection.commit()


def write_sql() -> None:
    """Write the SQL for `alembic upgrade --sql`, for review and linters."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=Base.metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    context.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    context.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'")
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    """Connect, migrate, disconnect; the advisory lock ends with the connection."""
    settings = load(Settings)
    configure_logging("migrate", settings.log_level, settings.log_format)
    log_unhandled()
    url = settings.database_url

    async def connect() -> asyncpg.Connection[asyncpg.Record]:
        # asyncpg itself reads the URL, with its ?sslmode= and the like, as it does for the API.
        return await asyncpg.connect(url, server_settings={"application_name": "issuetracker-migrate"})

    engine = create_async_engine("postgresql+asyncpg://", poolclass=pool.NullPool, async_creator=connect)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


if context.is_offline_mode():
    write_sql()
else:
    asyncio.run(main())
