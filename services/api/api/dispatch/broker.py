"""The client of the broker: lists of messages in Redis. Every call has a timeout."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from redis import exceptions
from redis.exceptions import RedisError

from api.dispatch.envelope import parse_job_id
from api.redis_client import redis_client
from contracts.faults import allow_message_in_logs
from contracts.names import REJECTED_MESSAGES_KEY

Result = TypeVar("Result")


class BrokerUnavailable(Exception):
    """Redis does not respond in time, or rejects commands because it is full or still loading its file."""


allow_message_in_logs(BrokerUnavailable, RedisError)


@asynccontextmanager
async def _translate_errors() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error


class Broker:
    """A client of the broker's database; enter it with `async with`."""

    def __init__(self, url: str) -> None:
        self._redis = redis_client(url, "dispatcher")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._redis.aclose()

    async def ping(self) -> None:
        """Raise BrokerUnavailable unless Redis responds."""
        await self.query(lambda redis: redis.ping())

    async def query(self, run: Callable[[Any], Awaitable[Result]]) -> Result:
        """Return the result of a read-only query with the client, retried once after a lost connection."""
        async with _translate_errors():
            try:
                return await run(self._redis)
            except exceptions.ConnectionError:
                # The connection may have been lost since its last use, although Redis is available again.
                return await run(self._redis)

    async def count_messages(self, queue: str) -> int:
        """Return the number of messages in the queue, without messages that workers have received."""
        async with _translate_errors():
            return await self._redis.llen(queue)

    async def find_waiting_jobs(self, queue: str) -> set[str]:
        """Return the job ids of all messages in the queue, whose length is bounded by `queue_bound`."""
        async with _translate_errors():
            messages = await self._redis.lrange(queue, 0, -1)
        return {job_id for raw in messages if (job_id := parse_job_id(raw)) is not None}

    async def list_rejected(self, limit: int) -> list[bytes]:
        """Return rejected messages, oldest first. They stay in the list until `remove_rejected`."""
        async with _translate_errors():
            found = await self._redis.lrange(REJECTED_MESSAGES_KEY, 0, limit - 1)
        return [entry if isinstance(entry, bytes) else entry.encode() for entry in found]

    async def remove_rejected(self, entries: Sequence[bytes]) -> None:
        """Remove settled entries; another dispatcher may have removed them already."""
        async with _translate_errors(), self._redis.pipeline(transaction=False) as commands:
            for entry in entries:
                commands.lrem(REJECTED_MESSAGES_KEY, 1, entry.decode())
            await commands.execute()

    async def publish(self, queue: str, messages: Sequence[bytes]) -> None:
        """Push the messages in order, atomically. After BrokerUnavailable the outcome is unknown."""
        async with _translate_errors():
            await self._redis.lpush(queue, *messages)
