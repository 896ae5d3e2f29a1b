"""The API's connections to PostgreSQL: asyncpg, plain SQL, every wait bounded.

asyncpg's pool with plain SQL takes 0.9 to 1.1 ms of CPU for a POST where SQLAlchemy's async ORM takes
3.7 to 6.5; docs/decisions/0003-asyncpg-and-plain-sql.md.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import asyncpg
from fastapi import Depends, Request

from api.metrics import pool as metrics
from api.pool import Acquired, Connection, Pool, close, require_writable
from api.settings import ApiSettings
from contracts import tracing
from contracts.faults import allow_message_in_logs

CONNECT_TIMEOUT_S = 5
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
_OUTAGE_ERRORS: tuple[type[Exception], ...] = (
    *UNAVAILABLE_ERRORS,
    asyncpg.DeadlockDetectedError,
    asyncpg.InterfaceError,
)
_ROLLBACK_ERRORS: tuple[type[Exception], ...] = (*UNAVAILABLE_ERRORS, asyncpg.InterfaceError)
"""Errors of a rollback on a lost connection, or of one whose transaction has already ended."""
_NOTHING_COMMITTED = (asyncpg.ReadOnlySQLTransactionError, asyncpg.DeadlockDetectedError)
"""Errors with which the server has rolled back."""

Result = TypeVar("Result")


@dataclass(slots=True)
class CommitRecord:
    """Whether the current request has committed anything."""

    has_commit: bool = False


commit_record: ContextVar[CommitRecord | None] = ContextVar("commit_record", default=None)


@dataclass(frozen=True, slots=True)
class _Transaction:
    acquired: Acquired
    on_commit: list[Callable[[], None]] = field(default_factory=list)


_transaction: ContextVar[_Transaction | None] = ContextVar("transaction", default=None)


class DatabaseUnavailable(Exception):
    """PostgreSQL is unreachable, restarting, read-only, out of connections or too slow.

    `may_be_committed` is true if the connection failed after a commit was requested: its outcome is unknown.
    `is_failover` is true if the pool has replaced its connections, so that another attempt may succeed now.
    """

    def __init__(self, error: BaseException, *, may_be_committed: bool, is_failover: bool = False) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.may_be_committed = may_be_committed
        self.is_failover = is_failover


allow_message_in_logs(DatabaseUnavailable, *UNAVAILABLE_ERRORS)


def record_commit() -> None:
    """Record that the current request has committed something."""
    if (record := commit_record.get()) is not None:
        record.has_commit = True


async def repeat_after_failover(run: Callable[[], Awaitable[Result]], *, is_repeatable: bool) -> Result:
    """Return the result of `run`, which a failover may have interrupted once.

    `is_repeatable`: a repetition has no further effect, so it is safe if the outcome of the first is unknown.
    """
    try:
        return await run()
    except DatabaseUnavailable as first:
        if not first.is_failover or (first.may_be_committed and not is_repeatable):
            raise
        may_be_committed = first.may_be_committed
    try:
        return await run()
    except DatabaseUnavailable as second:
        second.may_be_committed = second.may_be_committed or may_be_committed
        raise


class Database:
    """A pool of connections. Each method runs one statement, which is a transaction unless one is open.

    A statement that a failover interrupts is repeated with a new connection if nothing was committed.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._rollbacks: set[asyncio.Task[None]] = set()

    @property
    def is_in_transaction(self) -> bool:
        """Whether this asyncio task has a transaction open."""
        return _transaction.get() is not None

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """Return the statement's rows."""
        rows: list[asyncpg.Record] = await self._run(sql, lambda connection: connection.fetch(sql, *values))
        return rows

    async def fetch_repeatable(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """Return the rows of a statement that has the effect of one execution if it is executed twice.

        The statement is also repeated if a failover leaves the outcome of its commit unknown.
        """
        rows: list[asyncpg.Record] = await self._run(
            sql, lambda connection: connection.fetch(sql, *values), is_repeatable=True
        )
        return rows

    async def fetchrow(self, sql: str, *values: Any) -> asyncpg.Record | None:
        """Return the statement's first row."""
        row: asyncpg.Record | None = await self._run(sql, lambda connection: connection.fetchrow(sql, *values))
        return row

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """Return the first column of the statement's first row."""
        return await self._run(sql, lambda connection: connection.fetchval(sql, *values))

    async def execute(self, sql: str, *values: Any) -> None:
        """Run a statement for its effect."""
        await self._run(sql, lambda connection: connection.execute(sql, *values), is_read=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Run every statement of this asyncio task in one transaction; join the open one, if any."""
        if _transaction.get() is not None:
            yield
            return
        with tracing.sql("BEGIN"):
            acquired, running = await repeat_after_failover(self._begin, is_repeatable=True)
            transaction = _Transaction(acquired)
            _transaction.set(transaction)
            is_cancelled = False
            try:
                try:
                    yield
                except asyncio.CancelledError:
                    raise
                except BaseException:
                    # A connection that fails here has rolled back; the caller's error has the details.
                    with suppress(*_ROLLBACK_ERRORS):
                        await running.rollback()
                    raise
                async with self._translated_errors(acquired, may_be_committed=True):
                    await running.commit()
            except asyncio.CancelledError:
                is_cancelled = True
                raise
            finally:
                _transaction.set(None)
                if is_cancelled:
                    self._roll_back_later(running, acquired)
                else:
                    await self._release(acquired)
        record_commit()
        for action in transaction.on_commit:
            action()

    def on_commit(self, action: Callable[[], None]) -> None:
        """Run the action after the commit of the open transaction, or now if none is open."""
        if (transaction := _transaction.get()) is None:
            action()
        else:
            transaction.on_commit.append(action)

    async def _run(
        self,
        sql: str,
        query: Callable[[Any], Awaitable[Result]],
        *,
        is_read: bool | None = None,
        is_repeatable: bool = False,
    ) -> Result:
        """Run one statement in the open transaction, or as a transaction of its own."""
        with tracing.sql(sql):
            if (transaction := _transaction.get()) is not None:
                async with self._translated_errors(transaction.acquired, may_be_committed=False):
                    return await query(transaction.acquired.connection)
            if is_read is None:
                # No SELECT of the API has an effect outside a transaction.
                is_read = sql.lstrip().startswith("SELECT")
            result = await repeat_after_failover(
                lambda: self._run_alone(query, may_be_committed=not is_read), is_repeatable=is_repeatable
            )
        if not is_read:
            record_commit()
        return result

    async def _run_alone(self, query: Callable[[Any], Awaitable[Result]], *, may_be_committed: bool) -> Result:
        acquired = await self._acquire()
        try:
            async with self._translated_errors(acquired, may_be_committed=may_be_committed):
                return await query(acquired.connection)
        finally:
            await self._release(acquired)

    async def _begin(self) -> tuple[Acquired, Any]:
        """Begin a transaction that can write."""
        acquired = await self._acquire()
        running = acquired.connection.transaction()
        try:
            async with self._translated_errors(acquired, may_be_committed=False):
                await running.start()
                require_writable(acquired.connection)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                close(acquired)  # its transaction may have begun
            await self._release(acquired)
            raise
        return acquired, running

    def _roll_back_later(self, running: Any, acquired: Acquired) -> None:
        """Roll back in a task of its own: the cancelled task of a stream is cancelled again at each await."""
        task = asyncio.create_task(self._roll_back(running, acquired), name="rollback")
        self._rollbacks.add(task)
        task.add_done_callback(self._rollbacks.discard)

    async def _roll_back(self, running: Any, acquired: Acquired) -> None:
        try:
            await running.rollback()
        except _ROLLBACK_ERRORS:
            close(acquired)
        with suppress(DatabaseUnavailable):
            await self._release(acquired)

    async def _acquire(self) -> Acquired:
        async with self._translated_errors(None, may_be_committed=False):
            return await self._pool.acquire()

    async def _release(self, acquired: Acquired) -> None:
        async with self._translated_errors(None, may_be_committed=True):
            await self._pool.release(acquired)

    @asynccontextmanager
    async def _translated_errors(
        self, acquired: Acquired | None, *, may_be_committed: bool
    ) -> AsyncIterator[None]:
        """Raise DatabaseUnavailable for the errors of an outage; wrap only calls of asyncpg in it.

        If the error of an acquired connection indicates a failover, the pool replaces its connections.
        """
        try:
            yield
        except _OUTAGE_ERRORS as error:
            # asyncpg raises InterfaceError for a connection that was just closed, and for wrong use: our own bug.
            if isinstance(error, asyncpg.InterfaceError) and "closed" not in str(error):
                raise
            is_failover = acquired is not None and await self._pool.replace_after(error, acquired)
            raise DatabaseUnavailable(
                error,
                may_be_committed=may_be_committed and not isinstance(error, _NOTHING_COMMITTED),
                is_failover=is_failover,
            ) from error


async def _prepare(connection: Any) -> None:
    connection.opened_at = asyncio.get_running_loop().time()
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _leave_as_is(_connection: Any) -> None:
    """Skip asyncpg's reset query, a second round trip per statement: no code changes the session's state."""


@asynccontextmanager
async def open_database(settings: ApiSettings) -> AsyncIterator[Database]:
    """Open the pool. It connects at its first use, so the API starts without a reachable server."""
    async with asyncpg.create_pool(
        settings.database_url,
        connection_class=Connection,
        min_size=0,
        max_size=settings.database_pool_size,
        init=_prepare,
        reset=_leave_as_is,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        # A transaction of a process that vanished must not keep its locks until TCP detects it, which takes hours.
        server_settings={"application_name": "issuetracker-api", "idle_in_transaction_session_timeout": "60s"},
    ) as pool:
        metrics.export_pool(pool)
        yield Database(Pool(pool))


async def _get_database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


DatabaseDep = Annotated[Database, Depends(_get_database)]
