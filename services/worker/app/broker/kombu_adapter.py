"""The only module that depends on private methods of kombu's Redis transport.

`_brpop_read`, `_create_client` and `sep` are private to kombu 5.7.0, which is pinned.
`tests/integration/test_kombu_adapter.py` fails if another version calls them differently.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis


class FilteringChannel(redis.Channel):
    """Passes to Kombu only the messages that `accept` accepts, and reuses its client."""

    _cached_client: Any = None

    def accept(self, queue: str, raw: bytes) -> bool:
        """Return whether to deliver a message that was removed from the queue; override it."""
        raise NotImplementedError

    def on_reply(self) -> None:
        """Handle a reply of Redis to a request for a message, with or without one; override it if necessary."""

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

        def receive_accepted(*args: Any, **kwargs: Any) -> Any:
            reply = receive(*args, **kwargs)
            self.on_reply()
            if not reply:
                return reply
            key, raw = reply
            # Kombu's lists of lower priorities have a suffix after the queue's name.
            queue = key.decode().partition(self.sep)[0]
            return reply if self.accept(queue, raw) else None  # as if the queue had been empty

        client.parse_response = receive_accepted
        try:
            return super()._brpop_read(**options)  # type: ignore[misc] # private
        finally:
            del client.parse_response
