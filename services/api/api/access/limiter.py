"""Rate limits by key, counted in each process and synchronized through Redis every second.

A Redis counter for each request would add a round trip to each POST, and a way to fail. Instead, each process
counts its requests and exchanges the counts through Redis once a second. A limit can be exceeded by the requests
of that second. While Redis is unavailable, each process counts alone.

The algorithm is the sliding window counter: the previous minute counts by its share of the last 60 s. Rejected
requests are not counted.
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
"""Maximum number of keys in one process; the least recently used ones are dropped."""
_PREFIX = "ratelimit"


@dataclass(slots=True)
class Counter:
    """Requests of one key in the current window and in the previous one."""

    window: int
    current: int = 0
    previous: int = 0
    unshared: int = 0
    """Part of `current` that was not added to Redis yet."""

    def move_to(self, window: int) -> None:
        """Move to that window, if it is not the current one."""
        if window != self.window:
            self.previous = self.current if window == self.window + 1 else 0
            self.window, self.current, self.unshared = window, 0, 0

    def used(self, elapsed: float) -> float:
        """Return the weighted count; `elapsed` is the elapsed share (0 to 1) of the current window."""
        return self.current + self.previous * (1 - elapsed)


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """Result of a rate limit check, for the response headers."""

    is_allowed: bool
    limit: int
    remaining: int
    wait_s: int
    """Seconds until more requests are allowed; at least 1."""


class Limiter:
    """Rate limits per minute; `sharing` synchronizes them with other processes."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._counters = LRUCache[str, Counter](KEYS_MAX)
        self._active: set[str] = set()

    def hit(self, key: str, limit: int) -> RateLimitResult:
        """Count a request and return whether it is within the limit; never blocks."""
        window, elapsed = divmod(time.time() / WINDOW_S, 1)
        counter = self._counter(key, int(window))
        used = counter.used(elapsed)
        if used + 1 > limit:
            return RateLimitResult(False, limit, 0, _wait_s(counter, elapsed, limit))
        counter.current += 1
        counter.unshared += 1
        self._active.add(key)
        return RateLimitResult(True, limit, int(limit - used - 1), ceil((1 - elapsed) * WINDOW_S))

    def _counter(self, key: str, window: int) -> Counter:
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = Counter(window)
        counter.move_to(window)
        return counter

    @asynccontextmanager
    async def sharing(self) -> AsyncIterator[None]:
        """Synchronize the counts while the body runs."""
        async with redis_client(self._redis_url, "limits") as redis:
            task = asyncio.create_task(self._share_periodically(redis), name="rate limits")
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _share_periodically(self, redis: Redis) -> None:
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
        """Add the new counts to Redis, and read the totals of all processes."""
        keys, self._active = [key for key in self._active if key in self._counters], set()
        if not keys:
            return
        sent = [(key, counter := self._counters[key], counter.window, counter.unshared) for key in keys]
        async with redis.pipeline(transaction=False) as pipe:
            for key, counter, window, unshared in sent:
                counter.unshared = 0
                pipe.incrby(f"{_PREFIX}:{key}:{window}", unshared)
                pipe.expire(f"{_PREFIX}:{key}:{window}", 2 * WINDOW_S)
                pipe.get(f"{_PREFIX}:{key}:{window - 1}")
            answers = await pipe.execute()
        for (_, counter, window, _), current, previous in zip(sent, answers[::3], answers[2::3], strict=True):
            if counter.window == window:
                # Requests counted meanwhile are not in Redis yet; those of an outage never get there.
                counter.current = max(counter.current, int(current) + counter.unshared)
                counter.previous = max(counter.previous, int(previous or 0))


def _wait_s(counter: Counter, elapsed: float, limit: int) -> int:
    """Return the seconds until one more request is allowed."""
    room = limit - 1 - counter.current
    if room >= 0 and counter.previous:
        # Later in this window, when previous * (1 - elapsed) has fallen to the remaining room.
        share = 1 - room / counter.previous - elapsed
    else:
        # In the next window, where the current count is the previous one.
        share = 1 - elapsed + max(0.0, 1 - (limit - 1) / counter.current)
    return max(1, ceil(share * WINDOW_S))
