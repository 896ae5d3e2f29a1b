"""Celery's remote control, as its clients use it."""

from celery import Celery


def control_app(broker_url: str) -> Celery:
    """Return an application whose connections are its own.

    Celery has one pool per process, whose connections may be from before another test has restarted Redis.
    """
    return Celery(broker=broker_url, changes={"broker_pool_limit": 0})
