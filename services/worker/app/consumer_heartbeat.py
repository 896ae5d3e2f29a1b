"""Tells in Redis which queues this worker consumes, so that `issuetracker doctor` finds a queue that nobody does.

`celery inspect ping` would ask every worker and wait for seconds; a list of connections names no queue, and lacks
the worker whose processes are all busy.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.settings import settings
from contracts import CONTRACT_VERSION
from contracts.messages import WorkerHeartbeat
from contracts.names import HEARTBEAT_KEY_PREFIX, HEARTBEAT_KEY_SECONDS

TIMEOUT_S = 1
"""It is the main loop that waits. A Redis that is away is noticed elsewhere; then this is not called."""


def write_consumer_heartbeat(consumer: Any, queues: Sequence[str]) -> None:
    """Say that this Celery consumer takes the queues' messages, for the next seconds."""
    heartbeat = WorkerHeartbeat(
        contract_version=CONTRACT_VERSION,
        worker=consumer.hostname,
        queues=list(queues),
        processes=consumer.pool.num_processes,
        at=datetime.now(UTC),
    )
    # Full, or a replica: what it says of itself is lost, and told by other signs.
    with suppress(redis.RedisError):
        _client().set(
            f"{HEARTBEAT_KEY_PREFIX}{heartbeat.worker}", heartbeat.model_dump_json(), ex=HEARTBEAT_KEY_SECONDS
        )


@cache
def _client() -> "redis.Redis":
    return redis.Redis.from_url(
        settings.celery_broker_url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        client_name="issuetracker-worker-heartbeat",
    )
