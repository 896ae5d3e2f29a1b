"""RQ: a fork for each job, retries on, registries looked after every 30 seconds."""

from collections.abc import Sequence

from redis import Redis
from rq import Queue, Retry

from benchmarks.peers import rows

COMMAND = (
    *("rq", "worker", "bench", "--url", rows.REDIS_URL, "--path", "."),
    *("--job-monitoring-interval", "10", "--maintenance-interval", "30"),
)


def hand_over(ids: Sequence[int]) -> None:
    """Enqueue a job for each row."""
    queue = Queue("bench", connection=Redis.from_url(rows.REDIS_URL))
    retry = Retry(max=3)
    queue.enqueue_many([Queue.prepare_data(rows.work, (item_id,), timeout=20, retry=retry) for item_id in ids])
