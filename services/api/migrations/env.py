"""Alembic's environment: one migrator at a time, a transaction each, and no waiting in front of readers."""

import asyncio

from alembic import context
from sqlalchemy import Connection, make_url, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from contracts.settings import Settings, load
from contracts.tables import Base

MIGRATION_LOCK = 0x1550_7AC4
"""Key of the advisory lock that makes a second migrator wait for the first."""
LOCK_TIMEOUT = "4s"
"""A migration that waits for a table makes every query after it wait: better to give up and try again."""
STATEMENT_TIMEOUT = "60s"


def migrate(connection: Connection) -> None:
    """Run the migrations that Alembic's command asks for."""
    connection.execute(text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})"))
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        transaction_per_migration=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    """Connect, migrate, disconnect; the advisory lock ends with the connection."""
    url = make_url(load(Settings).database_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(
        url,
        poolclass=pool.NullPool,
        connect_args={"server_settings": {"application_name": "issuetracker-migrate"}},
    )
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(main())
