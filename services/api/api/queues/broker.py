"""What Redis holds of the queues, and the workers that say there that they consume."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from contracts.messages import WorkerSign
from contracts.names import PRIORITY_SUFFIXES, WORKER_SIGN_PREFIX, Queue

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

    sign: WorkerSign
    left_ms: int


def ask_messages(commands: Any) -> None:
    """Add to a pipeline what `read_messages` reads the answers of."""
    for queue in Queue:
        for suffix in PRIORITY_SUFFIXES:
            commands.llen(f"{queue.value}{suffix}")
    commands.hlen(UNACKNOWLEDGED)


def read_messages(answers: Sequence[int]) -> Messages:
    """Return what a pipeline has answered to `ask_messages`."""
    *lengths, unacknowledged = answers
    each = len(PRIORITY_SUFFIXES)
    waiting = {queue.value: sum(lengths[place * each :][:each]) for place, queue in enumerate(Queue)}
    return Messages(waiting, unacknowledged)


async def find_messages(redis: "Redis") -> Messages:
    """Return how many messages there are."""
    async with redis.pipeline(transaction=False) as pipeline:
        ask_messages(pipeline)
        return read_messages(await pipeline.execute())


async def find_consumers(redis: "Redis") -> list[Consumer]:
    """Return the workers that have said lately that they consume, by name; those of a version we can read."""
    keys: list[Any] = []
    cursor = 0
    for _ in range(SCANS_MAX):
        cursor, found = await redis.scan(cursor, match=f"{WORKER_SIGN_PREFIX}*", count=SCAN_STEP)
        keys += found
        if cursor == 0:
            break
    async with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.get(key)
            pipeline.pttl(key)
        answers = await pipeline.execute()
    consumers: list[Consumer] = []
    for raw, left_ms in zip(answers[::2], answers[1::2], strict=True):
        # One that has expired meanwhile has no value.
        with suppress(ValidationError):
            consumers.append(Consumer(WorkerSign.model_validate_json(raw or b""), left_ms))
    return sorted(consumers, key=lambda consumer: consumer.sign.worker)
