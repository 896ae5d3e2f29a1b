"""The misbehaving application on a pool as the environment says: its kind, and when it replaces its processes."""

import os

from app.celery_app import app
from tests.support import misbehaving_app

__all__ = ["app", "misbehaving_app"]

app.conf.worker_pool = os.environ.get("POOL", "prefork")
app.conf.worker_max_tasks_per_child = int(os.environ.get("TASKS_PER_CHILD", "500"))
