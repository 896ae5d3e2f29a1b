"""What Redis holds of the queues, and the workers that say there that they consume."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from contracts.messages import WorkerHeartbeat
from contracts.names import HEARTBEAT_KEY_PREFIX, PRIORITY_SUFFIXES, Queue

if TYPE_CHECKING:
    from redis.asyncio import Redis

UNACKNOWLEDGED = "unacked"
"""Kombu's hash of what workers have taken and not acknowledged."""
SCAN_STEP = 1000
SCANS_MAX = 20
"""Steps of a search for workers: a database that others fill as well is not read to its end."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages that wait, by queue, and those of all queues that workers hold, or held when they died."""

    waiting: dict[str, int]
    unacknowledged: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """What a worker said of itself, and for how many milliseconds more that counts."""

    heartbeat: WorkerHeartbeat
    expires_in_ms: int


def queue_message_counts(commands: Any) -> None:
    """Add to a pipeline what `parse_message_counts` reads the answers of."""
    for queue in Queue:
        for suffix in PRIORITY_SUFFIXES:
            commands.llen(f"{queue.value}{suffix}")
    commands.hlen(UNACKNOWLEDGED)


def parse_message_counts(answers: Sequence[int]) -> Messages:
    """Return what a pipeline has answered to `queue_message_counts`."""
    *lengths, unacknowledged = answers
    each = len(PRIORITY_SUFFIXES)
    waiting = {queue.value: sum(lengths[place * each :][:each]) for place, queue in enumerate(Queue)}
    return Messages(waiting, unacknowledged)


async def count_messages(redis: "Redis") -> Messages:
    """Return how many messages there are."""
    async with redis.pipeline(transaction=False) as pipeline:
        queue_message_counts(pipeline)
        return parse_message_counts(await pipeline.execute())


async def find_consumers(redis: "Redis") -> list[Consumer]:
    """Return the workers that have said lately that they consume, by name; those of a version we can read."""
    keys: list[Any] = []
    cursor = 0
    for _ in range(SCANS_MAX):
        cursor, found = await redis.scan(cursor, match=f"{HEARTBEAT_KEY_PREFIX}*", count=SCAN_STEP)
        keys += found
        if cursor == 0:
            break
    async with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.get(key)
            pipeline.pttl(key)
        answers = await pipeline.execute()
    consumers: list[Consumer] = []
    for raw, expires_in_ms in zip(answers[::2], answers[1::2], strict=True):
        # One that has expired meanwhile has no value.
        with suppress(ValidationError):
            consumers.append(Consumer(WorkerHeartbeat.model_validate_json(raw or b""), expires_in_ms))
    return sorted(consumers, key=lambda consumer: consumer.heartbeat.worker)
