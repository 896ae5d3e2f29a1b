"""The API's connections to PostgreSQL: asyncpg, plain SQL, every wait bounded.

asyncpg's pool with plain SQL takes 0.9 to 1.1 ms of CPU for a POST where SQLAlchemy's async ORM takes
3.7 to 6.5; docs/decisions/0003-asyncpg-and-plain-sql.md.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, Request

from api.metrics import pool as metrics
from api.settings import ApiSettings
from contracts import tracing
from contracts.faults import allow_message_in_logs

CONNECT_TIMEOUT_S = 5
ACQUIRE_TIMEOUT_S = 5
COMMAND_TIMEOUT_S = 10

UNAVAILABLE_ERRORS: tuple[type[Exception], ...] = (
    OSError,  # among them TimeoutError
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,  # among them DiskFullError
    asyncpg.ReadOnlySQLTransactionError,  # a standby, after a failover
)


_in_transaction: ContextVar[Any] = ContextVar("connection of the transaction", default=None)


class DatabaseUnavailable(Exception):
    """PostgreSQL is away, restarting, out of connections or too slow.

    `is_sent` tells whether the statement was sent: then nobody knows whether it was carried out.
    """

    def __init__(self, error: BaseException, *, is_sent: bool) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.is_sent = is_sent


allow_message_in_logs(DatabaseUnavailable, *UNAVAILABLE_ERRORS)


class Database:
    """A pool of connections. Each method runs one statement, which is a transaction unless one is open."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @property
    def is_in_transaction(self) -> bool:
        """Tell whether this asyncio task has a transaction open."""
        return _in_transaction.get() is not None

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """Return the statement's rows."""
        async with self._connection(sql) as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *values)
            return rows

    async def fetchrow(self, sql: str, *values: Any) -> asyncpg.Record | None:
        """Return the statement's first row."""
        async with self._connection(sql) as connection:
            row: asyncpg.Record | None = await connection.fetchrow(sql, *values)
            return row

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """Return the first column of the statement's first row."""
        async with self._connection(sql) as connection:
            return await connection.fetchval(sql, *values)

    async def execute(self, sql: str, *values: Any) -> None:
        """Run a statement for its effect."""
        async with self._connection(sql) as connection:
            await connection.execute(sql, *values)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Run every statement of this asyncio task in one transaction; inside another one, be part of that."""
        if _in_transaction.get() is not None:
            yield
            return
        async with self._connection("BEGIN") as connection, connection.transaction():
            _in_transaction.set(connection)
            try:
                yield
            finally:
                _in_transaction.set(None)

    @asynccontextmanager
    async def _connection(self, sql: str) -> AsyncIterator[Any]:
        if (connection := _in_transaction.get()) is not None:
            with tracing.sql(sql):
                yield connection
            return
        is_sent = False
        try:
            with tracing.sql(sql):
                async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                    is_sent = True
                    yield connection
        except UNAVAILABLE_ERRORS as error:
            raise DatabaseUnavailable(error, is_sent=is_sent) from error
        except asyncpg.DeadlockDetectedError as error:
            raise DatabaseUnavailable(error, is_sent=False) from error  # it was rolled back
        except asyncpg.InterfaceError as error:
            # asyncpg says the same of wrong use, which is a bug of ours, and of a connection that just went.
            if "closed" not in str(error):
                raise
            raise DatabaseUnavailable(error, is_sent=is_sent) from error


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _leave_as_is(_connection: Any) -> None:
    """Spare each statement a second round trip: asyncpg ends what is open, and no session is set up otherwise."""


@asynccontextmanager
async def open_database(settings: ApiSettings) -> AsyncIterator[Database]:
    """Open the pool; it connects when it is first used, so the API starts while the server is away."""
    async with asyncpg.create_pool(
        settings.database_url,
        min_size=0,
        max_size=settings.database_pool_size,
        init=_prepare,
        reset=_leave_as_is,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={"application_name": "issuetracker-api"},
    ) as pool:
        metrics.export_pool(pool)
        yield Database(pool)


async def _get_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


DatabaseDep = Annotated[Database, Depends(_get_database)]
