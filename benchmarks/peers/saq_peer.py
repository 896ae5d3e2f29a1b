"""SAQ on Redis: ten jobs at once, swept every ten seconds, stuck after twenty."""

import asyncio
from collections.abc import Sequence
from typing import Any

from saq import Queue

from benchmarks.peers import rows

COMMAND = ("saq", "benchmarks.peers.saq_peer.settings")

queue = Queue.from_url(rows.REDIS_URL)


async def work(_context: Any, *, item_id: int) -> None:
    """Do the work of one row."""
    await rows.work_async(item_id)


settings = {"queue": queue, "functions": [work], "concurrency": 10, "timers": {"sweep": 10}}


def hand_over(ids: Sequence[int]) -> None:
    """Enqueue a job for each row."""

    async def enqueue() -> None:
        for item_id in ids:
            await queue.enqueue("work", item_id=item_id, timeout=20, retries=3)
        await queue.disconnect()

    asyncio.run(enqueue())
