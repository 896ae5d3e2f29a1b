"""Celery's consumer, which publishes the events that Flower lives on a few times a second, not after each."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from celery.worker.consumer import Consumer

FLUSH_S = 0.2
"""How long an event waits for others. Celery publishes at each turn of its main loop, a third of what that does
with short tasks (docs/benchmarks.md)."""


class BatchingConsumer(Consumer):
    """Publishes a task's events together with those of the tasks around it."""

    hub: Any
    _flush_events: Callable[[], None]  # celery's own; its stubs lack both
    _flush_due = 0.0

    def on_send_event_buffered(self) -> None:  # type: ignore[override] # its stubs are wrong
        """Take note of an event that waits to be published."""
        if self.hub and monotonic() >= self._flush_due:
            self._flush_due = monotonic() + FLUSH_S
            self.hub.call_later(FLUSH_S, self._flush_events)

    def shutdown(self) -> Any:
        """Publish what waits, then stop: Flower would show the last tasks as running for good."""
        self._flush_events()
        return super().shutdown()
