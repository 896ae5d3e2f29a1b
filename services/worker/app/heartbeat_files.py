"""The worker's signs of life: two files that its main process touches, for a probe that starts no Celery.

`alive`: the main loop turns, or tries to reach the broker: an outage, however long, is no reason to restart.
`consuming`: the broker has answered the worker's question for messages, or no process is free to ask for one.
"""

from collections.abc import Collection
from contextlib import suppress
from time import monotonic
from typing import Any

from celery import bootsteps
from celery.worker import state

from app.consumer_heartbeat import write_consumer_heartbeat
from app.settings import settings
from contracts.names import Queue
from contracts.network import ALIVE_FILE, CONSUMING_FILE

INTERVAL_S = 2
BROKER_REPLY_MAX_AGE_S = 5
"""An unanswered question older than this is none; the broker answers each within a second."""
HEARTBEAT_MAX_AGE_S = 10
"""A sign older than this is none, for the metrics: the main loop has missed several."""


class HeartbeatFiles:
    """What this process knows of itself; touches nothing unless a directory is set."""

    def __init__(self) -> None:
        self._answered = float("-inf")
        self._consuming = float("-inf")
        self._queues: frozenset[str] = frozenset()

    def record_broker_reply(self) -> None:
        """Take note that the broker has answered, with a message or without."""
        self._answered = monotonic()

    def touch_alive(self) -> None:
        """Touch the file that says that the main process gets things done."""
        self._touch(ALIVE_FILE)

    def touch_consuming(self, free_processes: int, queues: Collection[str]) -> bool:
        """Touch the file that says that messages are taken, if they are; tell whether they are."""
        is_consuming = free_processes <= 0 or monotonic() - self._answered < BROKER_REPLY_MAX_AGE_S
        if is_consuming:
            self._touch(CONSUMING_FILE)
            self._consuming, self._queues = monotonic(), frozenset(queues)
        return is_consuming

    def consumed_queues(self) -> frozenset[str]:
        """Return the queues whose messages are taken; none where the last sign of it is old."""
        return self._queues if monotonic() - self._consuming < HEARTBEAT_MAX_AGE_S else frozenset()

    @staticmethod
    def _touch(name: str) -> None:
        # A file that cannot be touched gets old, which the probe tells.
        with suppress(OSError):
            if settings.heartbeat_directory is not None:
                (settings.heartbeat_directory / name).touch()


heartbeat = HeartbeatFiles()


class HeartbeatStep(bootsteps.StartStopStep):
    """Gives the signs from the worker's main loop, while that has a connection and turns."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        """Begin, with each connection anew: its loss has cleared the timers."""
        self._entry = consumer.timer.call_repeatedly(INTERVAL_S, self._touch_files, (consumer,))

    def stop(self, consumer: Any) -> None:
        """End, before the connection does."""
        del consumer
        self._entry.cancel()

    @staticmethod
    def _touch_files(consumer: Any) -> None:
        heartbeat.touch_alive()
        queues = [queue.value for queue in Queue if consumer.task_consumer.consuming_from(queue.value)]
        if heartbeat.touch_consuming(consumer.pool.num_processes - len(state.reserved_requests), queues):
            write_consumer_heartbeat(consumer, queues)
