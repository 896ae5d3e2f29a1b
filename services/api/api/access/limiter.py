"""Counts requests by key, in this process at once and with the other processes every second.

A counter in Redis for every request would add a round trip to each POST, and a reason to fail. So each process
counts for itself, adds what it counted to Redis once a second, and learns there what the others did: a limit may
be exceeded by what comes in within that second. While Redis is away each process counts alone.

The window slides: of the minute before, as much counts as lies within the last 60 s if its requests were evenly
spread (the "sliding window counter"). Requests that are refused are not counted.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import ceil

from cachetools import LRUCache
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.outage_log import OutageLog
from api.redis_client import redis_client

WINDOW_S = 60
SHARE_EVERY_S = 1.0
KEYS_MAX = 10_000
"""Keys that one process counts at a time. The least recently used are forgotten first."""
_PREFIX = "ratelimit"


@dataclass(slots=True)
class Counter:
    """What was counted of one key in one window and in the window before."""

    window: int
    current: int = 0
    previous: int = 0
    unshared: int = 0
    """Of `current`, what Redis has not been told."""

    def move_to(self, window: int) -> None:
        """Begin that window, if it is not this one."""
        if window != self.window:
            self.previous = self.current if window == self.window + 1 else 0
            self.window, self.current, self.unshared = window, 0, 0

    def used(self, elapsed: float) -> float:
        """Return what counts now, `elapsed` (0 to 1) of the current window being over."""
        return self.current + self.previous * (1 - elapsed)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a limit says to a request, for the answer's headers."""

    allowed: bool
    limit: int
    remaining: int
    wait_s: int
    """Seconds until there is more; at least 1."""


class Limiter:
    """Sliding windows of a minute; enter `sharing` to count together with other processes."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._counters = LRUCache[str, Counter](KEYS_MAX)
        self._active: set[str] = set()

    def hit(self, key: str, limit: int) -> Verdict:
        """Count a request, and say whether it is within the limit; never waits."""
        window, elapsed = divmod(time.time() / WINDOW_S, 1)
        counter = self._counter(key, int(window))
        used = counter.used(elapsed)
        if used + 1 > limit:
            return Verdict(False, limit, 0, _wait_s(counter, elapsed, limit))
        counter.current += 1
        counter.unshared += 1
        self._active.add(key)
        return Verdict(True, limit, int(limit - used - 1), ceil((1 - elapsed) * WINDOW_S))

    def _counter(self, key: str, window: int) -> Counter:
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = Counter(window)
        counter.move_to(window)
        return counter

    @asynccontextmanager
    async def sharing(self) -> AsyncIterator[None]:
        """Share the counts beside the body."""
        async with redis_client(self._redis_url, "limits") as redis:
            task = asyncio.create_task(self._share_for_ever(redis), name="rate limits")
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _share_for_ever(self, redis: Redis) -> None:
        outages = OutageLog("rate_limit_sync_failed", "rate_limit_sync_recovered")
        while True:
            await asyncio.sleep(SHARE_EVERY_S)
            try:
                await self.share(redis)
            except (RedisError, OSError) as error:
                outages.record_failure(f"{type(error).__name__}: {error}")
            else:
                outages.record_success()

    async def share(self, redis: Redis) -> None:
        """Tell Redis what was counted since the last time, and learn what all processes counted."""
        keys, self._active = [key for key in self._active if key in self._counters], set()
        if not keys:
            return
        told = [(key, counter := self._counters[key], counter.window, counter.unshared) for key in keys]
        async with redis.pipeline(transaction=False) as pipe:
            for key, counter, window, unshared in told:
                counter.unshared = 0
                pipe.incrby(f"{_PREFIX}:{key}:{window}", unshared)
                pipe.expire(f"{_PREFIX}:{key}:{window}", 2 * WINDOW_S)
                pipe.get(f"{_PREFIX}:{key}:{window - 1}")
            answers = await pipe.execute()
        for (_, counter, window, _), current, previous in zip(told, answers[::3], answers[2::3], strict=True):
            if counter.window == window:
                # What came in meanwhile is not in Redis yet; what was counted while it was away never gets there.
                counter.current = max(counter.current, int(current) + counter.unshared)
                counter.previous = max(counter.previous, int(previous or 0))


def _wait_s(counter: Counter, elapsed: float, limit: int) -> int:
    """Return in how many seconds one more request fits."""
    room = limit - 1 - counter.current
    if room >= 0 and counter.previous:
        # Later in this window: when previous * (1 - elapsed) has come down to the room.
        share = 1 - room / counter.previous - elapsed
    else:
        # In the next one, where what is counted now is the window before.
        share = 1 - elapsed + max(0.0, 1 - (limit - 1) / counter.current)
    return max(1, ceil(share * WINDOW_S))
