"""RQ: a fork for each job, from a worker that has imported what jobs need; retries on, registries looked after."""

from collections.abc import Sequence

from redis import Redis
from rq import Queue, Retry, Worker

from benchmarks.peers import rows

COMMAND = ("python", "-m", "benchmarks.peers.rq_peer")


def hand_over(ids: Sequence[int]) -> None:
    """Enqueue a job for each row."""
    queue = Queue("bench", connection=Redis.from_url(rows.REDIS_URL))
    retry = Retry(max=3)
    queue.enqueue_many([Queue.prepare_data(rows.work, (item_id,), timeout=20, retry=retry) for item_id in ids])


if __name__ == "__main__":
    connection = Redis.from_url(rows.REDIS_URL)
    Worker(["bench"], connection=connection, job_monitoring_interval=10, maintenance_interval=30).work()
