"""The misbehaving application with the pool and the tasks per child of the environment variables."""

import os

from app.celery_app import app
from tests.support import misbehaving_app

__all__ = ["app", "misbehaving_app"]

app.conf.worker_pool = os.environ.get("POOL", app.conf.worker_pool)
app.conf.worker_max_tasks_per_child = int(os.environ.get("TASKS_PER_CHILD", "500"))
