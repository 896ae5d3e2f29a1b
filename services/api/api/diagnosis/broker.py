"""What the API sees of Redis, and of the workers by their signs in it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from api.diagnosis.schemas import BrokerState, WorkerState
from contracts.messages import WorkerSign
from contracts.names import PRIORITY_SUFFIXES, WORKER_SIGN_PREFIX, WORKER_SIGN_SECONDS, Queue

if TYPE_CHECKING:
    from redis.asyncio import Redis

SIGNS_MAX = 1000


async def broker_state(redis: "Redis") -> BrokerState:
    """Return how Redis is. INFO tells its settings too, which a managed server's CONFIG may not."""
    before = datetime.now(UTC)
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.info()
        pipeline.hlen("unacked")
        for queue in Queue:
            for suffix in PRIORITY_SUFFIXES:
                pipeline.llen(f"{queue.value}{suffix}")
        (seconds, microseconds), info, unacknowledged, *lengths = await pipeline.execute()
    middle = before + (datetime.now(UTC) - before) / 2
    now = datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)
    return BrokerState(
        version=info.get("valkey_version", info["redis_version"]),
        is_replica=info["role"] != "master",
        clock_ahead_s=(now - middle).total_seconds(),
        used_bytes=info["used_memory"],
        max_bytes=info["maxmemory"],
        eviction_policy=info["maxmemory_policy"],
        append_only=bool(info["aof_enabled"]),
        is_writing=info.get("aof_last_write_status", "ok") == "ok",
        messages=_by_queue(lengths),
        unacknowledged=unacknowledged,
    )


async def worker_states(redis: "Redis") -> list[WorkerState]:
    """Return the workers that have said lately that they consume, by name."""
    keys: list[Any] = []
    async for key in redis.scan_iter(match=f"{WORKER_SIGN_PREFIX}*", count=1000):
        keys.append(key)
        if len(keys) == SIGNS_MAX:
            break
    async with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.get(key)
            pipeline.pttl(key)
        found = await pipeline.execute()
    now = datetime.now(UTC)
    # One that has expired meanwhile has no value.
    states = [
        _worker(raw, left, now) for raw, left in zip(found[::2], found[1::2], strict=True) if raw is not None
    ]
    return sorted(states, key=lambda state: state.worker)


def _worker(raw: bytes, left_ms: int, now: datetime) -> WorkerState:
    sign = WorkerSign.model_validate_json(raw)
    age = timedelta(seconds=WORKER_SIGN_SECONDS) - timedelta(milliseconds=left_ms)
    return WorkerState(**sign.model_dump(), clock_ahead_s=(sign.at - (now - age)).total_seconds())


def _by_queue(lengths: Sequence[int]) -> dict[str, int]:
    each = len(PRIORITY_SUFFIXES)
    return {queue.value: sum(lengths[place * each : (place + 1) * each]) for place, queue in enumerate(Queue)}
