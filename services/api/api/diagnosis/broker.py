"""The state of Redis, and of the workers by their heartbeats in it."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from api.diagnosis.schemas import BrokerState, WorkerState
from api.queues.broker import Consumer, find_consumers, parse_message_counts, queue_message_counts
from contracts.names import HEARTBEAT_KEY_SECONDS

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def read_broker_state(redis: "Redis") -> BrokerState:
    """Return the state of Redis. INFO includes the settings, while managed servers may not allow CONFIG."""
    before = datetime.now(UTC)
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.info()
        queue_message_counts(pipeline)
        (seconds, microseconds), info, *results = await pipeline.execute()
    middle = before + (datetime.now(UTC) - before) / 2
    now = datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)
    messages = parse_message_counts(results)
    return BrokerState(
        version=info.get("valkey_version", info["redis_version"]),
        is_replica=info["role"] != "master",
        clock_ahead_s=(now - middle).total_seconds(),
        used_bytes=info["used_memory"],
        max_bytes=info["maxmemory"],
        eviction_policy=info["maxmemory_policy"],
        append_only=bool(info["aof_enabled"]),
        is_writing=info.get("aof_last_write_status", "ok") == "ok",
        messages=messages.waiting,
        unacknowledged=messages.unacknowledged,
    )


async def read_worker_states(redis: "Redis") -> list[WorkerState]:
    """Return the workers with a recent heartbeat, by name."""
    consumers = await find_consumers(redis)
    now = datetime.now(UTC)
    return [_read_worker(consumer, now) for consumer in consumers]


def _read_worker(consumer: Consumer, now: datetime) -> WorkerState:
    age = timedelta(seconds=HEARTBEAT_KEY_SECONDS) - timedelta(milliseconds=consumer.expires_in_ms)
    heartbeat = consumer.heartbeat
    return WorkerState(**heartbeat.model_dump(), clock_ahead_s=(heartbeat.at - (now - age)).total_seconds())
