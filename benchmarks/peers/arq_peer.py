"""arq: ten jobs at once, taken up again when a job's time is over."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.peers import rows

COMMAND = ("arq", "benchmarks.peers.arq_peer.Settings")


async def work(_context: dict[str, Any], item_id: int) -> None:
    """Do the work of one row."""
    await rows.work_async(item_id)


class Settings:
    """What the worker reads."""

    functions: ClassVar = [work]
    redis_settings = RedisSettings.from_dsn(rows.REDIS_URL)
    job_timeout = 20


def hand_over(ids: Sequence[int]) -> None:
    """Enqueue a job for each row."""

    async def enqueue() -> None:
        pool = await create_pool(Settings.redis_settings)
        for item_id in ids:
            await pool.enqueue_job("work", item_id)

    asyncio.run(enqueue())
