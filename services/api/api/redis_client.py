"""The client of Redis that every part of the API uses."""

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from contracts.redis_url import CLUSTER_NODE


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
        redis_connect_func=_connect,
    )


async def _connect(connection: Any) -> None:
    """Initialize a new connection. A node of a Redis Cluster counts as unavailable."""
    await connection.on_connect()
    await connection.send_command("INFO", "cluster")
    try:
        reply = await connection.read_response()
    except NoPermissionError:
        return
    if b"cluster_enabled:1" in reply:
        raise RedisConnectionError(CLUSTER_NODE)
