"""What Redis holds."""

from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from contracts.names import Queue

TIMEOUT_S = 2
PRIORITY_SUFFIXES = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""Behind a queue's name, the lists that kombu keeps for its priorities. Ours all go to the first."""
UNACKNOWLEDGED = "unacked"
"""Kombu's hash of what workers have taken and not acknowledged."""


@dataclass(frozen=True, slots=True)
class BrokerState:
    """Messages by queue, those that workers hold, and bytes of memory: used, and allowed (0: unbounded)."""

    messages: dict[str, int]
    unacknowledged: int
    memory_used: int
    memory_max: int


async def read(url: str) -> BrokerState | None:
    """Ask Redis; None where it does not answer in time."""
    client = Redis.from_url(
        url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        client_name="issuetracker-exporter",
    )
    try:
        async with client, client.pipeline(transaction=False) as commands:
            for queue in Queue:
                for suffix in PRIORITY_SUFFIXES:
                    commands.llen(f"{queue}{suffix}")
            commands.hlen(UNACKNOWLEDGED)
            commands.info("memory")
            *lengths, unacknowledged, memory = await commands.execute()
    except (RedisError, OSError):
        return None
    step = len(PRIORITY_SUFFIXES)
    messages = {str(queue): sum(lengths[n * step : (n + 1) * step]) for n, queue in enumerate(Queue)}
    return BrokerState(messages, unacknowledged, memory["used_memory"], memory["maxmemory"])
