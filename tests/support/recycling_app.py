"""The misbehaving application, whose processes end after two tasks."""

from tests.support.misbehaving_app import app

app.conf.worker_max_tasks_per_child = 2
