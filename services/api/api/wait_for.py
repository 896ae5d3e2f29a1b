"""Wait for a dependency before a container starts: `python -m api.wait_for database`, or `schema`.

For init containers. It exits with code 0 when the database responds, or when its schema is at this release's head
or newer. There is no timeout: the pod's log shows the reason, and a timeout would only restart the wait.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import asyncpg
import structlog

from api.schema import list_revisions
from contracts.logs import configure_logging
from contracts.settings import Settings, load

TIMEOUT_S = 5
PAUSE_S = 2

logger = structlog.get_logger("wait_for")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def check_database(connection: Connection) -> str:
    """Return why the database is not ready for a migration, or an empty string if it is."""
    is_read_only = await connection.fetchval("SELECT current_setting('transaction_read_only')::boolean")
    return "the database is read-only" if is_read_only else ""


async def check_schema(connection: Connection) -> str:
    """Return why the schema is not ready, or an empty string if it is.

    An unknown revision belongs to a newer release. This release works with it, so its pods may start beside newer
    ones.
    """
    head, *older = list_revisions()
    found: set[str] = set()
    # Without this query, a missing table, or one that the migration has not granted yet, would cause errors in the
    # server's log until the migration.
    if await connection.fetchval("SELECT has_table_privilege(to_regclass('alembic_version'), 'SELECT')"):
        found = {row["version_num"] for row in await connection.fetch("SELECT version_num FROM alembic_version")}
    if found == {head} or found - {head, *older}:
        return ""
    at = ", ".join(sorted(found)) or "no revision"
    return f"the schema is at {at} and must be at {head}: the migration has not finished"


CHECKS: dict[str, Callable[[Connection], Awaitable[str]]] = {"database": check_database, "schema": check_schema}


async def check(url: str, dependency: str) -> str:
    """Connect and return why the dependency is not ready."""
    try:
        connection = await asyncpg.connect(
            url,
            timeout=TIMEOUT_S,
            command_timeout=TIMEOUT_S,
            server_settings={"application_name": "issuetracker-wait"},
        )
        try:
            return await CHECKS[dependency](connection)
        finally:
            await connection.close(timeout=TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"the database is unavailable: {type(error).__name__}: {error}"


def main(arguments: list[str]) -> int:
    """Wait, log the reason whenever it changes, and return the exit code."""
    if len(arguments) != 1 or arguments[0] not in CHECKS:
        print(f"wait_for: Pass one argument: {' or '.join(CHECKS)}.", file=sys.stderr)
        return 2
    # Process 1 of a container ignores SIGTERM by default.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    settings = load(Settings)
    configure_logging("wait", settings.log_level, settings.log_format)
    logged = None
    while missing := asyncio.run(check(settings.database_url, arguments[0])):
        if missing != logged:
            logger.info("dependency_check_failed", reason=missing)
        logged = missing
        time.sleep(PAUSE_S)
    logger.info("dependency_check_passed", dependency=arguments[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
