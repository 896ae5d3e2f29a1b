"""The client of Redis that every part of the API uses."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def redis_client(url: str, name: str, timeout_s: float = 1) -> Redis:
    """Return a client that waits `timeout_s` at most and never retries.

    A command that timed out may have arrived, so its caller decides what to do. `CLIENT LIST` shows `name`.
    """
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        client_name=f"issuetracker-{name}",
    )
