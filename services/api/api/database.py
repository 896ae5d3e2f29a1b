"""The API's connections to PostgreSQL: asyncpg, plain SQL, every wait bounded.

asyncpg's pool with plain SQL takes 0.9 to 1.1 ms of CPU for a POST where SQLAlchemy's async ORM takes
3.7 to 6.5; docs/decisions/0003-asyncpg-and-plain-sql.md.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class _Transaction:
    connection: Any
    on_commit: list[Callable[[], None]] = field(default_factory=list)


_transaction: ContextVar[_Transaction | None] = ContextVar("transaction", default=None)


class DatabaseUnavailable(Exception):
    """PostgreSQL is unreachable, restarting, read-only, out of connections or too slow.

    `may_be_committed` is true if the connection failed after a commit was requested: its outcome is unknown.
    """

    def __init__(self, error: BaseException, *, may_be_committed: bool) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.may_be_committed = may_be_committed


allow_message_in_logs(DatabaseUnavailable, *UNAVAILABLE_ERRORS)


class Database:
    """A pool of connections. Each method runs one statement, which is a transaction unless one is open."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @property
    def is_in_transaction(self) -> bool:
        """Whether this asyncio task has a transaction open."""
        return _transaction.get() is not None

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
        """Run every statement of this asyncio task in one transaction; join the open one, if any."""
        if _transaction.get() is not None:
            yield
            return
        with tracing.sql("BEGIN"):
            async with self._acquire() as connection:
                running = connection.transaction()
                with _translated_errors(may_be_committed=False):
                    await running.start()
                transaction = _Transaction(connection)
                _transaction.set(transaction)
                try:
                    yield
                except BaseException:
                    # A connection that fails here has rolled back; the caller's error has the details.
                    with suppress(*UNAVAILABLE_ERRORS, asyncpg.InterfaceError):
                        await running.rollback()
                    raise
                else:
                    with _translated_errors(may_be_committed=True):
                        await running.commit()
                finally:
                    _transaction.set(None)
        for action in transaction.on_commit:
            action()

    def on_commit(self, action: Callable[[], None]) -> None:
        """Run the action after the commit of the open transaction, or now if none is open."""
        if (transaction := _transaction.get()) is None:
            action()
        else:
            transaction.on_commit.append(action)

    @asynccontextmanager
    async def _connection(self, sql: str) -> AsyncIterator[Any]:
        """Yield the connection for one statement, and translate the errors of that statement."""
        with tracing.sql(sql):
            if (transaction := _transaction.get()) is not None:
                with _translated_errors(may_be_committed=False):
                    yield transaction.connection
            else:
                async with self._acquire() as connection:
                    with _translated_errors(may_be_committed=True):
                        yield connection

    @asynccontextmanager
    async def _acquire(self) -> AsyncIterator[Any]:
        with _translated_errors(may_be_committed=False):
            connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        try:
            yield connection
        finally:
            with _translated_errors(may_be_committed=True):
                await self._pool.release(connection)


@contextmanager
def _translated_errors(*, may_be_committed: bool) -> Iterator[None]:
    """Raise DatabaseUnavailable for the errors of an outage; wrap only calls of asyncpg in it."""
    try:
        yield
    except UNAVAILABLE_ERRORS as error:
        raise DatabaseUnavailable(error, may_be_committed=may_be_committed) from error
    except asyncpg.DeadlockDetectedError as error:
        raise DatabaseUnavailable(error, may_be_committed=False) from error
    except asyncpg.InterfaceError as error:
        # asyncpg raises this for a connection that was just closed, and for wrong use, which is our own bug.
        if "closed" not in str(error):
            raise
        raise DatabaseUnavailable(error, may_be_committed=may_be_committed) from error


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _leave_as_is(_connection: Any) -> None:
    """Skip asyncpg's reset query, a second round trip per statement: no code changes the session's state."""


@asynccontextmanager
async def open_database(settings: ApiSettings) -> AsyncIterator[Database]:
    """Open the pool. It connects at its first use, so the API starts without a reachable server."""
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
