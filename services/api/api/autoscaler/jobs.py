"""Count the jobs that need a worker."""

from typing import Any

import asyncpg

from contracts.ledger.queries import COUNT_NEEDING_WORKER
from contracts.names import Queue

TIMEOUT_S = 5
"""Timeout of the connection and of each query."""


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
        return {
            queue: await connection.fetchval(*COUNT_NEEDING_WORKER.bind(queue=queue, limit=limit))
            for queue in Queue
        }
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise JobsUnknown(f"{type(error).__name__}: {error}") from None
    finally:
        if connection is not None:
            connection.terminate()
