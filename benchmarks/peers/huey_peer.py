"""huey on Redis with four threads; it has no acknowledgement, so nothing comes back."""

from collections.abc import Sequence

from huey import RedisHuey

from benchmarks.peers import rows

COMMAND = ("huey_consumer", "benchmarks.peers.huey_peer.huey", "--workers", "4")

huey = RedisHuey("bench", url=rows.REDIS_URL)


@huey.task(retries=3)
def work(item_id: int) -> None:
    """Do the work of one row."""
    rows.work(item_id)


def hand_over(ids: Sequence[int]) -> None:
    """Enqueue a task for each row."""
    for item_id in ids:
        work(item_id)
