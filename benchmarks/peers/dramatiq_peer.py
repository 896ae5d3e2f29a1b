"""Dramatiq on Redis: one process with eight threads; it acknowledges a message after the work."""

from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import rows

COMMAND = ("dramatiq", "benchmarks.peers.dramatiq_peer", "--processes", "1", "--threads", "8")

dramatiq.set_broker(RedisBroker(url=rows.REDIS_URL, heartbeat_timeout=30_000))
work = dramatiq.actor(max_retries=3)(rows.work)


def enqueue(ids: Sequence[int]) -> None:
    """Send a message for each row."""
    for item_id in ids:
        work.send(item_id)
