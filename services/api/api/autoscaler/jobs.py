"""Count the jobs that need a worker."""

from typing import Any

import asyncpg

from contracts.names import Queue

TIMEOUT_S = 5
"""Timeout of the connection and of each query."""

# Jobs of an open circuit breaker wait and need no worker. The limit keeps the cost of a large backlog constant.
_COUNT = """
SELECT count(*) FROM (
    (SELECT 1 FROM job WHERE queue = $1 AND state IN ('queued', 'running') LIMIT $2)
    UNION ALL
    (SELECT 1 FROM job WHERE queue = $1 AND state IN ('pending', 'retrying') AND run_at <= now()
        AND task <> ALL (ARRAY(SELECT task FROM circuit WHERE open_until > now())) LIMIT $2)
) AS jobs
"""


class JobsUnknown(Exception):
    """PostgreSQL cannot be reached, or its schema is older."""


async def count_jobs(url: str, limit: int) -> dict[Queue, int]:
    """Return the due and running jobs of each queue, each kind at most `limit`, or raise JobsUnknown."""
    connection: Any = None
    try:
        connection = await asyncpg.connect(
            url,
            timeout=TIMEOUT_S,
            command_timeout=TIMEOUT_S,
            server_settings={"application_name": "issuetracker-autoscaler"},
        )
        return {queue: await connection.fetchval(_COUNT, queue, limit) for queue in Queue}
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise JobsUnknown(f"{type(error).__name__}: {error}") from None
    finally:
        if connection is not None:
            connection.terminate()
