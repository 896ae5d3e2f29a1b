"""Message counts and worker heartbeats in Redis."""

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
"""Kombu's hash of messages that workers have received and not acknowledged."""
SCAN_STEP = 1000
SCANS_MAX = 20
"""Maximum scan steps of a search for workers, so that a large shared database is not read completely."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Waiting messages by queue, and unacknowledged messages of all queues, including those of crashed workers."""

    waiting: dict[str, int]
    unacknowledged: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """A worker's heartbeat, and the milliseconds until it expires."""

    heartbeat: WorkerHeartbeat
    expires_in_ms: int


def queue_message_counts(commands: Any) -> None:
    """Add the commands to a pipeline whose results `parse_message_counts` reads."""
    for queue in Queue:
        for suffix in PRIORITY_SUFFIXES:
            commands.llen(f"{queue.value}{suffix}")
    commands.hlen(UNACKNOWLEDGED)


def parse_message_counts(results: Sequence[int]) -> Messages:
    """Return the counts from the results of the commands of `queue_message_counts`."""
    *lengths, unacknowledged = results
    each = len(PRIORITY_SUFFIXES)
    waiting = {queue.value: sum(lengths[place * each :][:each]) for place, queue in enumerate(Queue)}
    return Messages(waiting, unacknowledged)


async def count_messages(redis: "Redis") -> Messages:
    """Return the numbers of messages."""
    async with redis.pipeline(transaction=False) as pipeline:
        queue_message_counts(pipeline)
        return parse_message_counts(await pipeline.execute())


async def find_consumers(redis: "Redis") -> list[Consumer]:
    """Return the workers with a recent and readable heartbeat, by name."""
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
        results = await pipeline.execute()
    consumers: list[Consumer] = []
    for raw, expires_in_ms in zip(results[::2], results[1::2], strict=True):
        # A key that has expired meanwhile has no value.
        with suppress(ValidationError):
            consumers.append(Consumer(WorkerHeartbeat.model_validate_json(raw or b""), expires_in_ms))
    return sorted(consumers, key=lambda consumer: consumer.heartbeat.worker)
