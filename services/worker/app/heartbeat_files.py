"""The worker's heartbeat: two files that its main process touches. A probe checks them without starting Celery.

`alive`: the main loop is running or tries to reach the broker. A broker outage is no reason to restart the worker.
`consuming`: the broker has replied to a request for messages, or no process is free to run one.

systemd receives the same heartbeat: `WATCHDOG=1` while the worker is alive, `READY=1` when it consumes.
"""

from collections.abc import Collection
from contextlib import suppress
from time import monotonic
from typing import Any

from celery import bootsteps
from celery.worker import state

from app.consumer_heartbeat import write_consumer_heartbeat
from app.settings import settings
from contracts import systemd
from contracts.names import Queue
from contracts.network import ALIVE_FILE, CONSUMING_FILE

INTERVAL_S = systemd.WATCHDOG_INTERVAL_S
BROKER_REPLY_MAX_AGE_S = 5
"""If the last reply is older, the worker is not consuming. The broker replies to each request within a second."""
HEARTBEAT_MAX_AGE_S = 10
"""If the last heartbeat is older, the metrics report no consumed queues: the main loop has missed several."""


class HeartbeatFiles:
    """The heartbeat of this process. It touches no files unless a directory is set."""

    def __init__(self) -> None:
        self._replied_at = float("-inf")
        self._consumed_at = float("-inf")
        self._queues: frozenset[str] = frozenset()

    def record_broker_reply(self) -> None:
        """Record that the broker has replied, with or without a message."""
        self._replied_at = monotonic()

    def touch_alive(self) -> None:
        """Touch the file which shows that the main process is alive."""
        self._touch(ALIVE_FILE)
        systemd.notify(systemd.WATCHDOG)

    def touch_consuming(self, free_processes: int, queues: Collection[str]) -> bool:
        """Touch the file which shows that the worker is consuming, if it is; return whether it is."""
        is_consuming = free_processes <= 0 or monotonic() - self._replied_at < BROKER_REPLY_MAX_AGE_S
        if is_consuming:
            self._touch(CONSUMING_FILE)
            systemd.notify(systemd.READY)
            self._consumed_at, self._queues = monotonic(), frozenset(queues)
        return is_consuming

    def consumed_queues(self) -> frozenset[str]:
        """Return the consumed queues, or an empty set if the last heartbeat is too old."""
        return self._queues if monotonic() - self._consumed_at < HEARTBEAT_MAX_AGE_S else frozenset()

    @staticmethod
    def _touch(name: str) -> None:
        # If the file cannot be touched, it gets too old and the probe fails.
        with suppress(OSError):
            if settings.heartbeat_directory is not None:
                (settings.heartbeat_directory / name).touch()


heartbeat = HeartbeatFiles()


class HeartbeatStep(bootsteps.StartStopStep):
    """Writes the heartbeat from the worker's main loop while it is connected to the broker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        """Start the timer. Each new connection needs this, because the loss of a connection clears the timers."""
        self._entry = consumer.timer.call_repeatedly(INTERVAL_S, self._touch_files, (consumer,))

    def stop(self, consumer: Any) -> None:
        """Stop the timer before the connection closes."""
        del consumer
        self._entry.cancel()

    @staticmethod
    def _touch_files(consumer: Any) -> None:
        heartbeat.touch_alive()
        queues = [queue.value for queue in Queue if consumer.task_consumer.consuming_from(queue.value)]
        if heartbeat.touch_consuming(consumer.pool.num_processes - len(state.reserved_requests), queues):
            write_consumer_heartbeat(consumer, queues)
