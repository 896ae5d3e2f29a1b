"""Waits for what a container needs before it starts: `python -m api.wait_for database`, or `schema`.

For init containers: ends with code 0 once the database answers, or once its schema is at this release's head or
beyond it. It waits without an end, since whoever looks at the pod sees why in its log, and a bound would only
restart the wait.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import asyncpg
import structlog
from alembic.config import Config
from alembic.script import ScriptDirectory

from contracts.logs import configure_logging
from contracts.settings import Settings, load

TIMEOUT_S = 5
PAUSE_S = 2
ALEMBIC_INI = Path(__file__).parents[1] / "alembic.ini"

logger = structlog.get_logger("wait_for")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def database(connection: Connection) -> str:
    """Return what is missing of the database: nothing, as there is a connection."""
    del connection
    return ""


async def schema(connection: Connection) -> str:
    """Return what is missing of the schema; an empty string when nothing is.

    A revision that this release does not know is a newer one's. This release works on it, so its pods may start
    beside the newer ones.
    """
    script = ScriptDirectory.from_config(Config(ALEMBIC_INI))
    known = {revision.revision for revision in script.walk_revisions()}
    try:
        found = {row["version_num"] for row in await connection.fetch("SELECT version_num FROM alembic_version")}
    except asyncpg.UndefinedTableError:
        found = set()
    if found == set(script.get_heads()) or found - known:
        return ""
    at, head = (", ".join(sorted(revisions)) for revisions in (found, script.get_heads()))
    return f"the schema is at {at or 'nothing'}, and is to be at {head}: the migration is not done"


NEEDS: dict[str, Callable[[Connection], Awaitable[str]]] = {"database": database, "schema": schema}


async def look(url: str, need: str) -> str:
    """Connect and return what is missing."""
    try:
        connection = await asyncpg.connect(
            url,
            timeout=TIMEOUT_S,
            command_timeout=TIMEOUT_S,
            server_settings={"application_name": "issuetracker-wait"},
        )
        try:
            return await NEEDS[need](connection)
        finally:
            await connection.close(timeout=TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"the database does not answer: {type(error).__name__}: {error}"


def main(arguments: list[str]) -> int:
    """Wait; say why whenever the reason changes; return the exit code."""
    if len(arguments) != 1 or arguments[0] not in NEEDS:
        print(f"wait_for: name one of {', '.join(NEEDS)}", file=sys.stderr)
        return 2
    # Process 1 of a container has no default that would end it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    settings = load(Settings)
    configure_logging("wait", settings.log_level, settings.log_format)
    told = None
    while missing := asyncio.run(look(settings.database_url, arguments[0])):
        if missing != told:
            logger.info("dependency_check_failed", reason=missing)
        told = missing
        time.sleep(PAUSE_S)
    logger.info("dependency_check_passed", need=arguments[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
