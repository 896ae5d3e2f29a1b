"""Read the state of the queues for all requests of a process, at most once a second."""

import asyncio
from typing import Any

from api.database import Database
from api.dispatch.broker import Broker, BrokerUnavailable
from api.dispatch.limits import RecentLimits
from api.pauses.repository import find_pauses
from api.queues import repository
from api.queues.broker import Consumer, Messages, count_messages, find_consumers
from api.queues.schemas import QueuesState
from api.settings import ApiSettings
from contracts.ledger.queries import COUNTED_MAX
from contracts.names import Queue

FRESH_S = 1.0
LANES_FRESH_S = 10.0
"""Age of the results of queries whose cost grows with the number of waiting projects."""


class QueueMonitor:
    """Caches the state of the queues; concurrent requests share one read."""

    def __init__(
        self, settings: ApiSettings, database: Database, broker: Broker, recent_limits: RecentLimits
    ) -> None:
        self._running_max = settings.project_running_max
        self._recent_limits = recent_limits
        self._retries_max = len(settings.retry_delays)
        self._database = database
        self._broker = broker
        self._reading: asyncio.Task[QueuesState] | None = None
        self._since = 0.0
        self._lanes: tuple[list[dict[str, Any]], dict[str, Any]] | None = None
        self._lanes_since = 0.0

    async def read_state(self) -> QueuesState:
        """Return the state of the queues, at most one second old; raise DatabaseUnavailable."""
        now = asyncio.get_running_loop().time()
        if self._reading is None or (self._reading.done() and now - self._since >= FRESH_S):
            self._reading, self._since = asyncio.create_task(self._read_state(), name="queues"), now
        # A cancelled request must not cancel the read for the others.
        return await asyncio.shield(self._reading)

    async def _read_state(self) -> QueuesState:
        messages, consumers = await self._read_broker()
        counts = await repository.find_counts(self._database)
        projects, waiting_times = await self._read_lanes()
        return QueuesState.model_validate(
            {
                "broker": "unreachable" if messages is None else "ok",
                "unacknowledged": None if messages is None else messages.unacknowledged,
                "queues": [
                    {
                        **row,
                        "oldest_foreground_s": waiting_times.get(row["name"], {}).get("foreground_s"),
                        **_build_broker_fields(row["name"], messages, consumers),
                    }
                    for row in counts
                ],
                "classes": await repository.count_by_class(self._database),
                "projects": projects,
                "dead_messages": await repository.count_dead_messages(self._database),
                "counted_max": COUNTED_MAX,
                "retries_max": self._retries_max,
                "circuits": [
                    circuit
                    for circuit in await repository.find_circuits(self._database)
                    # Only admins may see the receivers of webhooks, in the diagnosis.
                    if not circuit["task"].startswith("webhook:")
                ],
                "pauses": await find_pauses(self._database),
                "recent": await repository.find_recent(self._database),
            }
        )

    async def _read_lanes(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the projects with the most due jobs and the waiting times, at most `LANES_FRESH_S` old."""
        now = asyncio.get_running_loop().time()
        if self._lanes is None or now - self._lanes_since >= LANES_FRESH_S:
            recent = self._recent_limits.find()
            self._lanes = (
                await repository.count_by_project(self._database),
                await repository.find_waiting_times(self._database, self._running_max, recent),
            )
            self._lanes_since = now
        return self._lanes

    async def _read_broker(self) -> tuple[Messages | None, list[Consumer]]:
        try:
            return await self._broker.query(count_messages), await self._broker.query(find_consumers)
        except BrokerUnavailable:
            return None, []


def _build_broker_fields(queue: str, messages: Messages | None, consumers: list[Consumer]) -> dict[str, Any]:
    if messages is None:
        return {"messages": None, "consumers": None, "processes": None}
    heartbeats = [consumer.heartbeat for consumer in consumers if queue in consumer.heartbeat.queues]
    return {
        "messages": messages.waiting[Queue(queue)],
        "consumers": len(heartbeats),
        "processes": sum(heartbeat.processes for heartbeat in heartbeats),
    }
