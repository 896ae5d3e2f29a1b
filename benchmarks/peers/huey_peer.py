"""huey on Redis with four threads; it has no acknowledgement."""

from collections.abc import Sequence

from huey import RedisHuey

from benchmarks.peers import rows

COMMAND = ("huey_consumer", "benchmarks.peers.huey_peer.huey", "--workers", "4")

huey = RedisHuey("bench", url=rows.REDIS_URL)
work = huey.task(retries=3)(rows.work)


def enqueue(ids: Sequence[int]) -> None:
    """Queue a task for each row."""
    for item_id in ids:
        work(item_id)
