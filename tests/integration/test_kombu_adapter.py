"""The adapter to kombu's private methods: kombu delivers only accepted messages, and acknowledges them."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

import kombu
import pytest
import redis
from kombu.transport import redis as kombu_redis

from app.broker.kombu_adapter import FilteringChannel
from tests.support.servers import Servers
from tests.support.waiting import wait_until

QUEUE = "tests.adapter"


class Channel(FilteringChannel):
    """Rejects messages that contain `reject`."""

    rejected: ClassVar[list[tuple[str, bytes]]] = []
    replies: ClassVar[int] = 0

    def on_reply(self) -> None:
        Channel.replies += 1

    def accept(self, queue: str, raw: bytes) -> bool:
        if b'"subject": "reject"' not in raw:
            return True
        self.rejected.append((queue, raw))
        return False


class Transport(kombu_redis.Transport):
    Channel = Channel


@pytest.fixture
def connection(servers: Servers, broker: redis.Redis) -> Iterator[kombu.Connection]:
    broker.delete(QUEUE)
    Channel.rejected.clear()
    with kombu.Connection(servers.env["CELERY_BROKER_URL"], transport=Transport) as connection:
        yield connection


def drain(connection: kombu.Connection) -> bool:
    with suppress(TimeoutError):
        connection.drain_events(timeout=0.2)
    return True


@pytest.mark.parametrize("priority", [0, 9])
def test_rejected_message_is_not_delivered_and_next_one_is(
    connection: kombu.Connection, broker: redis.Redis, priority: int
) -> None:
    received: list[Any] = []
    queue = kombu.Queue(QUEUE, kombu.Exchange(QUEUE, type="direct"), routing_key=QUEUE)
    with connection.Producer() as producer:
        for subject in ("first", "reject", "last"):
            body = {"subject": subject}
            producer.publish(
                body, exchange=queue.exchange, routing_key=QUEUE, declare=[queue], priority=priority, headers=body
            )

    def receive(body: Any, message: kombu.Message) -> None:
        received.append(body["subject"])
        message.ack()

    before = Channel.replies
    with connection.Consumer([queue], callbacks=[receive]):
        wait_until(lambda: drain(connection) and len(received) == 2, lambda: f"two messages, not {received}")

    assert received == ["first", "last"]
    assert [name for name, _ in Channel.rejected] == [QUEUE]
    assert Channel.replies - before >= 3
    assert broker.hlen("unacked") == 0


def test_channel_reuses_one_client(connection: kombu.Connection) -> None:
    channel: Any = connection.channel()

    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is second
