"""What a reader of Celery's documentation deploys for tasks that must not get lost: late acknowledgement."""

import os
import time

import redis
from celery import Celery

app = Celery(broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, worker_concurrency=2)


@app.task(name="benchmarks.work")
def work(number: int, seconds: float) -> None:
    """Note that it began, work, and note that it is done."""
    with redis.Redis.from_url(os.environ["CELERY_RESULT_BACKEND"]) as notes:
        notes.sadd("began", number)
        time.sleep(seconds)
        notes.sadd("done", number)
