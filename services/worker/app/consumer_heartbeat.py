"""Writes to Redis which queues this worker consumes, so that `issuetracker doctor` detects unconsumed queues.

`celery inspect ping` queries every worker and takes seconds. Redis's list of connections contains no queues, and
a worker whose processes are all busy is missing from it.
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
"""Short, because the main loop waits for Redis. During an outage of Redis, this module is not called."""


def write_consumer_heartbeat(consumer: Any, queues: Sequence[str]) -> None:
    """Store a heartbeat for this Celery consumer and its queues, which expires after a few seconds."""
    heartbeat = WorkerHeartbeat(
        contract_version=CONTRACT_VERSION,
        worker=consumer.hostname,
        queues=list(queues),
        processes=consumer.pool.num_processes,
        at=datetime.now(UTC),
    )
    # Redis may be full or a read-only replica. Other checks report that.
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
