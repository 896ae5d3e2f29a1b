"""A worker without a task."""

from celery import Celery

from tests.support.servers import Servers
from tests.support.waiting import wait_until


def wait_idle(servers: Servers) -> None:
    """Wait until the worker has no task. One that stops just as its task ends may hang (see tests/conftest.py)."""
    with Celery(broker=servers.env["CELERY_BROKER_URL"]) as celery:

        def is_idle() -> bool:
            active = celery.control.inspect(timeout=10, limit=1).active()
            return active is not None and not any(active.values())

        wait_until(is_idle, "the end of all tasks")
