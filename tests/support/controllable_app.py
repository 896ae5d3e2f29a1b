"""The worker application with one more remote control command, which ends the consumption of a queue."""

from typing import Any

from celery.signals import worker_init
from celery.worker.control import Panel, cancel_consumer  # type: ignore[attr-defined] # its stubs lack it

from app.celery_app import app

__all__ = ["app"]


@worker_init.connect(weak=False)
def _allow(**_: Any) -> None:
    Panel.data["cancel_consumer"] = cancel_consumer
