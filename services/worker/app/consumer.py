"""A Celery consumer that publishes Flower's events in batches, a few times per second."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from celery.worker.consumer import Consumer

FLUSH_S = 0.2
"""How long an event waits for others. Celery itself publishes in each iteration of its main loop, which takes a
third of the loop's time with short tasks (docs/benchmarks.md)."""


class BatchingConsumer(Consumer):
    """Publishes the events of several tasks together."""

    hub: Any
    _flush_events: Callable[[], None]  # an attribute of Celery's class; the stubs lack both
    _flush_due = 0.0

    def on_send_event_buffered(self) -> None:  # type: ignore[override] # its stubs are wrong
        """Schedule the publication of a buffered event."""
        if self.hub and monotonic() >= self._flush_due:
            self._flush_due = monotonic() + FLUSH_S
            self.hub.call_later(FLUSH_S, self._flush_events)

    def shutdown(self) -> Any:
        """Publish the buffered events, then stop. Otherwise Flower would show the last tasks as running."""
        self._flush_events()
        return super().shutdown()
