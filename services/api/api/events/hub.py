"""Read the table `event` once for all listeners of a process, over a separate connection."""

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import structlog

from api.database import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S, UNAVAILABLE_ERRORS, Database, DatabaseUnavailable
from api.events import repository
from api.events.repository import BEFORE_ALL, Event, Position
from api.outage_log import OutageLog
from api.pool import require_writable
from api.settings import ApiSettings

if TYPE_CHECKING:
    from api.queues.monitor import QueueMonitor
    from api.queues.schemas import QueuesState

POLL_S = 0.25
"""Seconds between reads of the table while there are listeners. Each read costs one index look-up."""
STATUS_S = 2.0
RECONNECT_S = 1.0
DELAY_CHECK_S = 10.0
"""Seconds between checks for events that wait for an older transaction. Listeners then fetch what they display."""
BATCH = 500
RECENT_MAX = 2000
"""Events buffered for all listeners; a listener that is further behind reads the table."""
LISTENERS_MAX = 1000
RETENTION_S = 3600.0
"""Seconds that an event is stored, so that a stream can resume after it."""
PRUNE_POLL_S = 60.0
PRUNE_BATCH = 10_000

logger = structlog.get_logger(__name__)


class Hub:
    """A buffer of recent events. Each listener pulls at its own speed, so there is no queue per listener."""

    def __init__(self, settings: ApiSettings, database: Database, queues: "QueueMonitor") -> None:
        self._url = settings.database_url
        self._database = database
        self._queues = queues
        self._listeners = Counter[str]()
        """Open streams by the key of their principal."""
        self._readers: list[asyncio.Task[None]] = []
        self._since: Position | None = None
        """`_recent` has every event after this position, up to `_position`."""
        self._position: Position | None = None
        self._recent: list[Event] = []
        self.news = asyncio.Event()
        """Set, and replaced by a new one, when there is something to pull."""
        self.status: QueuesState | None = None
        self.epoch = 0
        """Incremented when positions become invalid: a restored database, a failover that lost transactions."""
        self.delays = 0
        """Incremented when further events wait for a transaction that has run for `DELAY_CHECK_S`."""
        self._delayed = 0
        """The number of delayed events at the last check."""
        self.closing = False

    @property
    def has_room(self) -> bool:
        """Whether another listener is accepted."""
        return self._listeners.total() < LISTENERS_MAX and not self.closing

    def count(self, principal: str) -> int:
        """Return the number of open streams of a principal."""
        return self._listeners[principal]

    def close(self) -> None:
        """End every stream; called when the process stops."""
        self.closing = True
        self._notify()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Delete old events while the body runs."""
        pruning = asyncio.create_task(self._prune(), name="events-prune")
        try:
            yield
        finally:
            self.close()
            pruning.cancel()
            self._stop_reading()

    @contextmanager
    def listening(self, principal: str) -> Iterator[None]:
        """Read for a listener; the first one starts the readers, the last one stops them."""
        self._listeners[principal] += 1
        if not self._readers:
            self._readers = [
                asyncio.create_task(self._read(), name="events"),
                asyncio.create_task(self._poll_status(), name="events-status"),
            ]
        try:
            yield
        finally:
            self._listeners -= Counter({principal: 1})  # which removes counts of 0
            if not self._listeners:
                self._stop_reading()

    async def after(self, cursor: Position) -> tuple[list[Event], Position]:
        """Return the events after the cursor and the next cursor; raise DatabaseUnavailable."""
        known, since = self._position, self._since
        if known is None or since is None or cursor >= known:
            return [], cursor
        if cursor >= since:
            start = bisect_right(self._recent, cursor, key=lambda event: event.position)
            events = self._recent[start : start + BATCH]
        else:
            async with self._database.transaction():  # which fails on an old primary
                events = await repository.read(self._database, cursor, BATCH)
        if len(events) == BATCH:
            return events, events[-1].position
        # Everything up to the hub's position has been read.
        return events, max(known, events[-1].position) if events else known

    def _stop_reading(self) -> None:
        for reader in self._readers:
            reader.cancel()
        self._since = self._position = self.status = None
        self._readers, self._recent = [], []

    def _notify(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def _read(self) -> None:
        outages = OutageLog("event_stream_interrupted", "event_stream_recovered")
        while True:
            try:
                async with self._connect() as connection:
                    outages.record_success()
                    await self._follow(connection)
            except UNAVAILABLE_ERRORS as error:
                outages.record_failure(f"{type(error).__name__}: {error}")
            except Exception:
                logger.exception("event_stream_failed")
            await asyncio.sleep(RECONNECT_S)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={"application_name": "issuetracker-events"},
        )
        try:
            yield connection
        finally:
            connection.terminate()

    async def _follow(self, connection: Any) -> None:
        is_valid = self._position is not None and (
            self._position == BEFORE_ALL or await repository.is_stored(connection, self._position)
        )
        last = await repository.get_last(connection)
        require_writable(connection)
        if not is_valid:
            self.epoch += self._position is not None
            self._since = self._position = last
            self._recent = []
        self._notify()
        # The count of an earlier connection may be that of another server or of a past delay.
        self._delayed = 0
        loop = asyncio.get_running_loop()
        checked_at = loop.time()
        while True:
            assert self._position is not None
            events = await repository.read(connection, self._position, BATCH)
            # After a failover, the old primary has no further event.
            require_writable(connection)
            self._append(events)
            if loop.time() >= checked_at + DELAY_CHECK_S:
                checked_at = loop.time()
                self._report_delayed(await repository.count_delayed(connection, DELAY_CHECK_S))
            if len(events) < BATCH:
                await asyncio.sleep(POLL_S)

    def _report_delayed(self, delayed: int) -> None:
        """Let listeners fetch what they display if further events are delayed."""
        if delayed and not self._delayed:
            logger.warning("event_stream_delayed", events=delayed, reason="a transaction of the server is open")
        elif self._delayed and not delayed:
            logger.info("event_stream_caught_up")
        if delayed > self._delayed:
            self.delays += 1
            self._notify()
        self._delayed = delayed

    def _append(self, events: list[Event]) -> None:
        if not events:
            return
        self._recent = [*self._recent, *events]
        self._position = events[-1].position
        if len(self._recent) > RECENT_MAX:
            self._since = self._recent[-RECENT_MAX - 1].position
            self._recent = self._recent[-RECENT_MAX:]
        self._notify()

    async def _poll_status(self) -> None:
        """Read the queue status while there are listeners, separately from the events, which do not need Redis."""
        while True:
            try:
                status = await self._queues.read_state()
            except DatabaseUnavailable:
                pass  # logged by the reader of the events
            except Exception:
                logger.exception("queue_status_failed")
            else:
                if status != self.status:
                    self.status = status
                    self._notify()
            await asyncio.sleep(STATUS_S)

    async def _prune(self) -> None:
        while True:
            try:
                while await repository.delete_of_other_server(self._database, PRUNE_BATCH) == PRUNE_BATCH:
                    pass
                while await repository.delete_old(self._database, RETENTION_S, PRUNE_BATCH) > PRUNE_BATCH // 2:
                    pass
            except DatabaseUnavailable:
                pass  # logged elsewhere; the next pass deletes the events
            except Exception:
                logger.exception("event_pruning_failed")
            await asyncio.sleep(PRUNE_POLL_S)
