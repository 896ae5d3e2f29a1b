"""The event stream (server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send

from api.access.credentials import InvalidCredentials
from api.access.middleware import authenticate
from api.access.principal import ANONYMOUS, Principal, PrincipalDep
from api.database import DatabaseDep, DatabaseUnavailable
from api.events import repository
from api.events.hub import Hub
from api.events.repository import Position
from api.head import SCOPE_ENTRY

router = APIRouter(prefix="/api/v1/events", tags=["events"])

HEARTBEAT_S = 15.0
STREAM_MAX_S = 300.0
"""Then the client reconnects and resumes."""
STREAMS_PER_PRINCIPAL = 20
RETRY_MS = 1000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_EXAMPLE = """\
event: issue.created
data: {"issue_id": "01a20614-800e-771f-862f-526a86f415ac"}
id: 4711-12-1795600510304127

event: job.changed
data: {"job_id": "01a20614-800f-7a10-9a1b-8c5f8f2c0d11", "state": "running"}
id: 4713-15-1795600510341870

"""

_EVENTS = ("sync", "status", "issue.created", "issue.changed", "issue.deleted", "job.changed")
# OpenAPI 3.1 cannot describe the items of a stream. By convention, the schema describes one event.
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": _EVENTS},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
    },
    "required": ["event", "data"],
}


class EventStream(StreamingResponse):
    """A stream that releases its resources as soon as the client disconnects."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes], status_code: int = 200) -> None:
        super().__init__(frames, status_code, _HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; for HEAD, send only its head."""
        if SCOPE_ENTRY not in scope:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body"})

    async def stream_response(self, send: Send) -> None:
        """Send events until either side closes the stream."""
        async with aclosing(cast("AsyncGenerator[bytes]", self.body_iterator)):
            # The timeout also ends the stream of a client that has stopped reading.
            with suppress(TimeoutError):
                async with asyncio.timeout(STREAM_MAX_S + HEARTBEAT_S):
                    await super().stream_response(send)


async def _listen(request: Request, actor: PrincipalDep) -> AsyncIterator[Hub]:
    """Count a stream until its response ends. One too many is refused before it reads the database."""
    hub: Hub = request.app.state.hub
    _require_room(hub, actor)
    with hub.listening(actor.key):
        yield hub


@router.get(
    "",
    operation_id="streamEvents",
    summary="Stream change events",
    response_class=EventStream,
    responses={
        200: {
            "description": "`sync`: fetch everything that you display; every later change is streamed. "
            "`issue.created`, `issue.changed`, `issue.deleted`, `job.changed`: "
            "the issue or job in the data has changed. "
            "`status`: the current response of `GET /api/v1/queues`. "
            "A stream ends after five minutes, and within 20 s of the end of its token or session. "
            "Reconnect with the last event id.",
            "content": {"text/event-stream": {"schema": _EVENT, "example": _EXAMPLE}},
        }
    },
)
async def stream(
    request: Request,
    database: DatabaseDep,
    hub: Annotated[Hub, Depends(_listen)],
    last_event_id: Annotated[
        str | None,
        Header(max_length=100, description="The id of the last event received; the stream resumes after it"),
    ] = None,
    after: Annotated[
        str | None,
        Query(max_length=100, description="Replaces `Last-Event-ID` for clients that cannot set headers"),
    ] = None,
) -> EventStream:
    """Stream each change of an issue or of a job's state, at least once, in commit order.

    The stream begins with `sync` if it cannot resume after the last event, which expires after an hour. It sends
    `sync` at most every 10 seconds while a long transaction of the server delays events.
    """
    position = Position.parse(last_event_id or after)
    epoch = hub.epoch
    async with database.transaction():  # which fails on an old primary
        is_resumed = position is not None and await repository.is_stored(database, position)
        cursor = position if position is not None and is_resumed else await repository.get_last(database)
    return EventStream(_frames(hub, epoch, cursor, lambda: _is_valid(request), is_resumed=is_resumed))


def _require_room(hub: Hub, actor: Principal) -> None:
    again = {"Retry-After": "5"}
    if not hub.has_room:
        detail = "Too many open streams, or the API is shutting down. Try again in 5 seconds."
        raise HTTPException(503, detail, again)
    # Without authentication, all users are one principal.
    if actor is not ANONYMOUS and hub.count(actor.key) >= STREAMS_PER_PRINCIPAL:
        detail = f"{actor.name} has {STREAMS_PER_PRINCIPAL} open streams. Close one, and try again in 5 seconds."
        raise HTTPException(429, detail, again)


async def _is_valid(request: Request) -> bool:
    """Return whether the credential of the request is still valid, as far as the database is available."""
    if request.app.state.settings.auth != "on":
        return True
    try:
        await authenticate(request.scope, request.headers)
    except InvalidCredentials:
        return False
    except DatabaseUnavailable:
        return True
    return True


async def _frames(
    hub: Hub, epoch: int, cursor: Position, is_valid: Callable[[], Awaitable[bool]], *, is_resumed: bool
) -> AsyncGenerator[bytes]:
    loop = asyncio.get_running_loop()
    started_at, delays, status = loop.time(), hub.delays, None
    checked_at = started_at
    yield format_sse_event(retry=RETRY_MS) if is_resumed else _sync(cursor)
    with suppress(DatabaseUnavailable):
        while not hub.closing and hub.epoch == epoch and loop.time() < started_at + STREAM_MAX_S:
            if loop.time() >= checked_at + HEARTBEAT_S:
                checked_at = loop.time()
                if not await is_valid():
                    return
            news = hub.news
            events, cursor = await hub.after(cursor)
            frames = [event.frame for event in events]
            if hub.delays != delays:
                delays = hub.delays
                frames.append(_sync(cursor))
            if hub.status is not None and hub.status is not status:
                status = hub.status
                frames.append(format_sse_event(event="status", data_str=status.model_dump_json()))
            if frames:
                yield b"".join(frames)
            elif not await _wait_for_news(news):
                yield format_sse_event(comment="heartbeat", id=str(cursor))


def _sync(cursor: Position) -> bytes:
    return format_sse_event(event="sync", data_str="{}", id=str(cursor), retry=RETRY_MS)


async def _wait_for_news(news: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await news.wait()
    except TimeoutError:
        return False
    return True
