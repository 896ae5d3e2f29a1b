"""Bound the connections of uvicorn: their number, their heads, slow bodies, and unread responses.

uvicorn 0.54 has a deadline only for idle connections. Its command line accepts no other protocol class, so
`bounded` lets the class of its parser, httptools, construct `BoundedProtocol`. This covers every way to start
`uvicorn main:app`, except with `--http h11` or `--http zttp`.
"""

import asyncio
import json
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.settings import ApiSettings

CHECK_EVERY_S = 1.0
BODY_WINDOW_S = 10
"""Seconds over which the rate of a body is measured. The first window is also its grace period."""
OTHER_FILES = 200
"""File descriptors besides those of the connections: the database, the broker, logs."""

logger = structlog.get_logger(__name__)


class _Part(Enum):
    """The part of a request that the parser expects next."""

    HEAD = auto()
    BODY = auto()
    NOTHING = auto()
    """The request is complete; uvicorn limits the time until the next one."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection with limits. `check` enforces the deadlines, the parser's callbacks the sizes."""

    settings: ClassVar[ApiSettings]
    connections_max: ClassVar[int]
    open: ClassVar[set["BoundedProtocol"]] = set()
    dropped: ClassVar[Counter[str]] = Counter()
    """Dropped connections by reason, since the last log line."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.part = _Part.HEAD
        self.part_since = self.loop.time()
        self._unparsed = 0
        """Bytes since the last head or piece of a body: an incomplete head, or extensions and trailers."""
        self._body_bytes = 0
        """Bytes of the body in the current window."""
        self._unread_since: float | None = None
        """Start of the window in which the client must read more of the response."""
        self._unread, self._read = 0, 0
        """Bytes of the response that wait for the client, and bytes that it has read in the window."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection if there is room, or instead of one that is idle or whose head is late."""
        super().connection_made(transport)
        self.open.add(self)
        if len(self.open) <= self.connections_max:
            return
        replaceable = (each for each in self.open if each.is_idle and not each.transport.is_closing())
        oldest = min(replaceable, key=lambda each: each.part_since, default=self)
        if oldest.part_since < self.loop.time() - CHECK_EVERY_S:
            oldest.drop("replaced")
        else:
            self._refuse(503, "Too many connections are open. Try again in 5 seconds.", "too_many")

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for a head and no response is unfinished."""
        return self.part is not _Part.BODY and not self._is_busy

    @property
    def _is_busy(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.open.discard(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Forget the connection, whose protocol changes. The application rejects it."""
        self.open.discard(self)
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and refuse a head that is too long before it is complete."""
        if self.part is _Part.NOTHING:
            self._begin(_Part.HEAD)
        self._unparsed += len(data)
        super().data_received(data)
        limit = self.settings.head_max_bytes
        if self._unparsed > limit and self.part is not _Part.NOTHING and not self.transport.is_closing():
            self._refuse(
                431, f"The head of the request has more than {limit} bytes. Send a smaller one.", "long_head"
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; ignore trailers, which would become headers of a request that has been checked."""
        if self.part is _Part.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the body."""
        self._begin(_Part.BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the bytes of the body."""
        self._unparsed = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_begin(self) -> None:
        """Start the head."""
        if self.part is not _Part.HEAD:
            self._begin(_Part.HEAD)
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """End the request."""
        self._begin(_Part.NOTHING)
        super().on_message_complete()

    def resume_writing(self) -> None:
        """Continue a response of which the client has read enough."""
        self._unread_since = None
        super().resume_writing()

    def extend(self, seconds: float) -> None:
        """Extend the deadlines, because this process was busy."""
        self.part_since += seconds
        if self._unread_since is not None:
            self._unread_since += seconds

    def check(self) -> None:
        """Drop the connection if it has missed a deadline."""
        now = self.loop.time()
        self._check_response(now)
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            # The application does not read, so the client cannot be late.
            self._begin(self.part)
        elif self.part is _Part.HEAD and now - self.part_since > self.settings.head_seconds:
            seconds = self.settings.head_seconds
            if self._unparsed:
                self._refuse(408, f"The head of the request did not arrive within {seconds:g} s.", "slow_head")
            else:
                self.transport.close()  # a browser opened it in advance
        elif self.part is _Part.BODY and now - self.part_since > BODY_WINDOW_S:
            if self._body_bytes < BODY_WINDOW_S * self.settings.body_bytes_per_second:
                rate = self.settings.body_bytes_per_second
                self._refuse(408, f"The body arrived more slowly than {rate} bytes per second.", "slow_body")
            elif not self._is_busy:
                self.drop("rejected_body")
            self._begin(_Part.BODY)

    def _check_response(self, now: float) -> None:
        unread = self.transport.get_write_buffer_size()
        if not unread or self._unread_since is None:
            self._unread_since = now if unread else None
            self._read = 0
        elif unread < self._unread:
            self._read += self._unread - unread
        self._unread = unread
        if self._unread_since is not None and now - self._unread_since > self.settings.unread_seconds:
            if self._read < self.settings.unread_seconds * self.settings.body_bytes_per_second:
                self.drop("unread_response")
            self._unread_since = None

    def _begin(self, part: _Part) -> None:
        self.part, self.part_since = part, self.loop.time()
        self._unparsed = self._body_bytes = 0

    def _refuse(self, status: int, detail: str, reason: str) -> None:
        """Respond and close, or only close if another response is unfinished."""
        if self._is_busy and (self.part is _Part.HEAD or self.cycle.response_started):
            self.drop(reason)
            return
        phrase = HTTPStatus(status).phrase
        body = json.dumps({"type": "about:blank", "title": phrase, "status": status, "detail": detail})
        head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
        self.dropped[reason] += 1
        self.transport.close()

    def drop(self, reason: str) -> None:
        """Close the connection at once, and count it."""
        self.dropped[reason] += 1
        self.transport.abort()


@asynccontextmanager
async def bounded(settings: ApiSettings) -> AsyncIterator[None]:
    """Bound the connections that uvicorn accepts while the body runs."""
    BoundedProtocol.settings = settings
    BoundedProtocol.connections_max = min(settings.connections_max, _allow_files(settings.connections_max))
    HttpToolsProtocol.__new__ = _new_connection  # type: ignore[method-assign, assignment]
    checking = asyncio.create_task(_check_all(), name="connections")
    try:
        yield
    finally:
        checking.cancel()


def _new_connection(_class: type[HttpToolsProtocol], *_args: Any, **_options: Any) -> BoundedProtocol:
    return object.__new__(BoundedProtocol)


def _allow_files(connections: int) -> int:
    """Raise the limit of open files as far as possible; return how many connections it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES


async def _check_all() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_at = loop.time() + CHECK_EVERY_S
        await asyncio.sleep(CHECK_EVERY_S)
        late_s = loop.time() - due_at
        for connection in list(BoundedProtocol.open):
            try:
                connection.extend(late_s)
                connection.check()
            except Exception:  # one faulty connection must not end the checks of the others
                logger.exception("connection_check_failed")
                BoundedProtocol.open.discard(connection)
                with suppress(Exception):
                    connection.transport.abort()
        if BoundedProtocol.dropped:
            logger.warning("connections_dropped", **BoundedProtocol.dropped)
            BoundedProtocol.dropped.clear()
