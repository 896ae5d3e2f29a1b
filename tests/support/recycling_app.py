"""The misbehaving application, with a process for each task: `celery -A tests.support.recycling_app worker`."""

from tests.support.misbehaving_app import app

app.conf.worker_max_tasks_per_child = 1
