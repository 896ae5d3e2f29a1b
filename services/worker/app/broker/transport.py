"""A Redis transport for Kombu that passes only runnable messages to Celery.

`Channel._brpop_read` and the functions that it calls are private to kombu 5.7.0, which is pinned.
`tests/integration/test_bad_messages.py` fails if another version calls it differently.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from kombu.transport import redis
from redis.exceptions import NoPermissionError

from app.broker.check import Rejection, check
from app.broker.rejected import reject
from app.heartbeat_files import heartbeat
from contracts import CONTRACT_VERSION
from contracts.limits import RAW_MESSAGE_MAX
from contracts.messages import Message, RejectedMessage
from contracts.redis_url import CLUSTER_NODE


class CheckedChannel(redis.Channel):
    """Moves messages that this version cannot run to the list of rejected messages, and reuses its client."""

    messages: ClassVar[dict[str, type[Message]]] = {}
    """The message class of each registered task, set when the worker starts."""
    _cached_client: Any = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Connect; exit with code 2 if the server is a node of a Redis Cluster."""
        super().__init__(*arguments, **options)
        with suppress(NoPermissionError):
            if self.client.info("cluster").get("cluster_enabled"):
                print(f"issuetracker: bad setting: CELERY_BROKER_URL: {CLUSTER_NODE}", file=sys.stderr)
                raise SystemExit(2)

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Return the client or a cached one; kombu itself creates a client per receive and acknowledgement."""
        if client is None and (
            self._cached_client is None or self._cached_client.connection_pool is not self.pool
        ):
            self._cached_client = self._create_client()  # type: ignore[attr-defined] # private
        yield client or self._cached_client

    def _brpop_read(self, **options: Any) -> Any:
        client = self.client
        receive = client.parse_response

        def receive_checked(*args: Any, **kwargs: Any) -> Any:
            reply = receive(*args, **kwargs)
            heartbeat.record_broker_reply()
            if not reply:
                return reply
            queue, raw = reply
            rejection = check(raw, self.messages)
            if rejection is None:
                return reply
            self._reject(queue, raw, rejection)
            return None  # as if the queue had been empty

        client.parse_response = receive_checked
        try:
            return super()._brpop_read(**options)  # type: ignore[misc] # private
        finally:
            del client.parse_response

    def _reject(self, queue: bytes, raw: bytes, rejection: Rejection) -> None:
        # Kombu's lists of lower priorities have a suffix after the queue's name.
        name = queue.decode().partition(self.sep)[0]
        rejected = RejectedMessage(
            contract_version=CONTRACT_VERSION,
            queue=name,
            reason=rejection.reason,
            error=rejection.error[:1000],
            worker=socket.gethostname(),
            job_id=rejection.job_id,
            raw=raw[:RAW_MESSAGE_MAX],
        )
        with self.conn_or_acquire() as client:
            reject(rejected, client, rejection.request_id)


class Transport(redis.Transport):
    """The Redis transport with checked channels. Each attempt to connect counts as a heartbeat."""

    Channel = CheckedChannel

    def establish_connection(self) -> Any:
        """Touch the liveness file, then connect. The main loop is alive even if the connection fails."""
        heartbeat.touch_alive()
        return super().establish_connection()
