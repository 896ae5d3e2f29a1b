"""The misbehaving application on a pool as the environment says: its kind, and when it replaces its processes."""

import os

from tests.support.misbehaving_app import app

app.conf.worker_pool = os.environ.get("POOL", "prefork")
app.conf.worker_max_tasks_per_child = int(os.environ.get("TASKS_PER_CHILD", "500"))
