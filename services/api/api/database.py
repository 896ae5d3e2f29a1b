"""The API's connections to PostgreSQL: asyncpg, plain SQL.

asyncpg's pool with plain SQL takes 0.9 to 1.1 ms of CPU for a POST where SQLAlchemy's async ORM takes
3.7 to 6.5; docs/decisions/0003-asyncpg-and-plain-sql.md.
"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import asyncpg
from fastapi import Depends, Request

from api.settings import ApiSettings

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Pool = asyncpg.Pool

COMMAND_TIMEOUT_S = 10
ACQUIRE_TIMEOUT_S = 5

UNAVAILABLE: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""What asyncpg raises while the server is away, restarting or out of connections."""


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


def create_pool(settings: ApiSettings) -> Pool:
    """Return a pool to be entered with `async with`; it connects lazily, so the API starts without a server."""
    return asyncpg.create_pool(
        settings.database_url,
        min_size=0,
        max_size=settings.database_pool_size,
        init=_prepare,
        timeout=ACQUIRE_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={"application_name": "issuetracker-api"},
    )


async def get_pool(request: Request) -> Pool:
    """Give the application's pool to an endpoint."""
    pool: Pool = request.app.state.pool
    return pool


PoolDep = Annotated[Pool, Depends(get_pool)]
