"""The pool of connections to PostgreSQL, which replaces them after a failover.

In a failover the name in DATABASE_URL moves to the new primary. Open connections stay with the old one, which may
be up and read-only. A new connection resolves the name again.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg

ACQUIRE_TIMEOUT_S = 5
AGE_MIN_S = 1.0
"""Minimum age of a connection that is replaced because its server is read-only. If the name itself leads to such a
server, each use would replace it."""

LOST_ERRORS: tuple[type[Exception], ...] = (
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.PostgresConnectionError,  # the server closed the connection
    asyncpg.InterfaceError,  # the connection was closed before its use
    ConnectionError,
)


class Connection(asyncpg.Connection):
    """A connection that stores when it was opened, in seconds of the event loop's clock."""

    opened_at = 0.0


@dataclass(frozen=True, slots=True)
class Acquired:
    """A connection in use. asyncpg's own object has no attributes after the connection was lost."""

    connection: Any
    opened_at: float


def is_read_only(connection: Any) -> bool:
    """Return whether the server rejected writes at the time of the connection's last statement.

    PostgreSQL reports these settings when they change, together with the result of a statement (since version 14).
    """
    settings = connection.get_settings()
    names = ("in_hot_standby", "default_transaction_read_only")
    return any(getattr(settings, name, "off") == "on" for name in names)


def require_writable(connection: Any) -> None:
    """Raise ReadOnlySQLTransactionError if the server rejected writes at the connection's last statement."""
    if is_read_only(connection):
        raise asyncpg.ReadOnlySQLTransactionError("the server accepts no writes")


class Pool:
    """Replaces every connection when one of them fails as in a failover."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._expired_at = 0.0
        """Connections that were opened until then are replaced at their next use."""
        self._closing: set[asyncio.Task[None]] = set()

    async def acquire(self) -> Acquired:
        """Return a connection; replace one that leads to a read-only server."""
        acquired = await self._acquire()
        if is_read_only(acquired.connection) and _is_old(acquired):
            await self._expire(acquired)
            close(acquired)
            acquired = await self._acquire()
        return acquired

    async def release(self, acquired: Acquired) -> None:
        """Return the connection to the pool. It may have been lost."""
        releasing = self._pool.release(acquired.connection)
        if acquired.opened_at > self._expired_at:
            await releasing
        else:
            # asyncpg cancels its statement and closes it, which takes seconds if the server does not respond.
            task = asyncio.create_task(_ignore_errors(releasing), name="connection-close")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def replace_after(self, error: BaseException, acquired: Acquired) -> bool:
        """Replace all connections if the error of one indicates a failover; return whether to try another one.

        An unreachable server causes a timeout. The next request then uses another connection.
        """
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            is_failover = _is_old(acquired)
        else:
            is_failover = isinstance(error, LOST_ERRORS)
        if is_failover or isinstance(error, TimeoutError):
            await self._expire(acquired)
        if is_failover:
            close(acquired)
        return is_failover

    async def _acquire(self) -> Acquired:
        connection: Any = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        return Acquired(connection, connection.opened_at)

    async def _expire(self, acquired: Acquired) -> None:
        """Replace each connection that was opened before now at its next use, unless the given one is replaced."""
        if acquired.opened_at > self._expired_at:
            self._expired_at = _now()
            await self._pool.expire_connections()


def close(acquired: Acquired) -> None:
    """Close the connection at once; the server rolls back. It may have been lost."""
    with suppress(asyncpg.InterfaceError):
        acquired.connection.terminate()


async def _ignore_errors(releasing: Awaitable[None]) -> None:
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await releasing


def _is_old(acquired: Acquired) -> bool:
    return _now() - acquired.opened_at >= AGE_MIN_S


def _now() -> float:
    return asyncio.get_running_loop().time()
