"""Read the state of Redis."""

from dataclasses import dataclass

from redis.exceptions import RedisError

from api.outage_log import OutageLog
from api.queues.broker import parse_message_counts, queue_message_counts
from api.redis_client import redis_client

TIMEOUT_S = 2

_outages = OutageLog("broker_read_failed", "broker_read_recovered")


@dataclass(frozen=True, slots=True)
class BrokerState:
    """Waiting messages by queue, unacknowledged messages, and used and maximum memory in bytes (0: unlimited)."""

    messages: dict[str, int]
    unacknowledged: int
    memory_used: int
    memory_max: int


async def read(url: str) -> BrokerState | None:
    """Return the state of Redis, or None if it does not respond in time."""
    try:
        async with (
            redis_client(url, "exporter", TIMEOUT_S) as client,
            client.pipeline(transaction=False) as commands,
        ):
            queue_message_counts(commands)
            commands.info("memory")
            *results, memory = await commands.execute()
    except (RedisError, OSError) as error:
        _outages.record_failure(f"{type(error).__name__}: {error}")
        return None
    _outages.record_success()
    messages = parse_message_counts(results)
    return BrokerState(messages.waiting, messages.unacknowledged, memory["used_memory"], memory["maxmemory"])
