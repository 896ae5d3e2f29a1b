"""taskiq on Redis streams, which acknowledge; messages of the dead are claimed after 30 seconds."""

import asyncio
from collections.abc import Sequence

from taskiq_redis import RedisStreamBroker

from benchmarks.peers import rows

COMMAND = ("taskiq", "worker", "benchmarks.peers.taskiq_peer:broker", "--workers", "1")

broker = RedisStreamBroker(rows.REDIS_URL, consumer_id="0", idle_timeout=30_000)


@broker.task
async def work(item_id: int) -> None:
    """Do the work of one row."""
    await rows.work_async(item_id)


def hand_over(ids: Sequence[int]) -> None:
    """Send a message for each row."""

    async def send() -> None:
        await broker.startup()
        for item_id in ids:
            await work.kiq(item_id)
        await broker.shutdown()

    asyncio.run(send())
