"""A Redis transport for Kombu that passes only runnable messages to Celery."""

import socket
import sys
from contextlib import suppress
from typing import Any, ClassVar

from kombu.transport import TRANSPORT_ALIASES, redis
from redis.exceptions import NoPermissionError

from app.broker.check import Rejection, check
from app.broker.kombu_adapter import FilteringChannel
from app.broker.rejected import reject
from app.heartbeat_files import heartbeat
from contracts import CONTRACT_VERSION
from contracts.limits import RAW_MESSAGE_MAX
from contracts.messages import Message, RejectedMessage
from contracts.names import Queue
from contracts.redis_url import CLUSTER_NODE


class CheckedChannel(FilteringChannel):
    """Moves messages that this version cannot run to the list of rejected messages."""

    messages: ClassVar[dict[str, type[Message]]] = {}
    """The message class of each registered task, set when the worker starts."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Connect; exit with code 2 if the server is a node of a Redis Cluster."""
        super().__init__(*arguments, **options)
        with suppress(NoPermissionError):
            if self.client.info("cluster").get("cluster_enabled"):
                print(f"issuetracker: bad setting: CELERY_BROKER_URL: {CLUSTER_NODE}", file=sys.stderr)
                raise SystemExit(2)

    def on_reply(self) -> None:
        """Touch the heartbeat files."""
        heartbeat.record_broker_reply()

    def accept(self, queue: str, raw: bytes) -> bool:
        """Check a message of a job. Other queues contain Celery's own messages, such as replies to `inspect`."""
        if queue not in set(Queue):
            return True
        rejection = check(raw, self.messages)
        if rejection is not None:
            self._reject(queue, raw, rejection)
        return rejection is None

    def _reject(self, queue: str, raw: bytes, rejection: Rejection) -> None:
        rejected = RejectedMessage(
            contract_version=CONTRACT_VERSION,
            queue=queue,
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


def register() -> None:
    """Use this transport for URLs of Redis, so that banner and logs show these URLs."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:{Transport.__name__}"))
