"""Kombu's Redis transport, which hands Celery only messages that it can run.

Of what is overridden, `Channel._brpop_read` and what is called there is private to kombu 5.7.0, which is pinned;
`tests/integration/test_bad_messages.py` fails when another version calls it otherwise.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from kombu.transport import redis

from app.broker.check import Rejection, check
from app.broker.rejected import reject
from app.heartbeat_files import heartbeat
from contracts import CONTRACT_VERSION
from contracts.limits import RAW_MESSAGE_MAX
from contracts.messages import Message, RejectedMessage


class CheckedChannel(redis.Channel):
    """Leaves what no worker of this version can run in the list of refused messages; keeps its client."""

    messages: ClassVar[dict[str, type[Message]]] = {}
    """The message of each task that this worker has registered; set when it starts."""
    _kept: Any = None

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Give the client, or one over the channel's pool: kombu makes one for each message it takes or ends."""
        if client is None and (self._kept is None or self._kept.connection_pool is not self.pool):
            self._kept = self._create_client()  # type: ignore[attr-defined] # private
        yield client or self._kept

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
            return None  # as if nothing had been waiting

        client.parse_response = receive_checked
        try:
            return super()._brpop_read(**options)  # type: ignore[misc] # private
        finally:
            del client.parse_response

    def _reject(self, queue: bytes, raw: bytes, rejection: Rejection) -> None:
        # Kombu's lists of lower priorities have a suffix behind their queue's name.
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
    """The Redis transport with checked channels, which tells the probe of each attempt to connect."""

    Channel = CheckedChannel

    def establish_connection(self) -> Any:
        """Connect, or fail to: either way the main loop is alive."""
        heartbeat.touch_alive()
        return super().establish_connection()
