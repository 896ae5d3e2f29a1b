"""The event stream (server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated, cast

from fastapi import APIRouter, Header, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Send

from api.database import DatabaseDep, DatabaseUnavailable
from api.events import repository
from api.events.hub import Hub
from api.events.repository import Event, Position

router = APIRouter(prefix="/api/v1/events", tags=["events"])

HEARTBEAT_S = 15.0
STREAM_MAX_S = 300.0
"""After that the client comes back, with a token that is still valid, and reads on."""
RETRY_MS = 1000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_EXAMPLE = """\
event: issue.created
data: {"issue_id": "01a20614-800e-771f-862f-526a86f415ac"}
id: 4711-12

event: job.changed
data: {"job_id": "01a20614-800f-7a10-9a1b-8c5f8f2c0d11", "state": "running"}
id: 4713-15

"""

_EVENTS = ("sync", "status", "issue.created", "issue.changed", "issue.deleted", "job.changed")
# OpenAPI 3.1 has no word for a stream's items: as its readers take it, this is one event.
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
    """A stream that lets go of what it holds as soon as its client has gone."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """Send it until either side ends it."""
        async with aclosing(cast("AsyncGenerator[bytes]", self.body_iterator)):
            await super().stream_response(send)


@router.get(
    "",
    operation_id="streamEvents",
    summary="Hear of every change",
    response_class=EventStream,
    responses={
        200: {
            "description": "`sync`: read all that you show; from here on you hear of each change. "
            "`issue.created`, `issue.changed`, `issue.deleted`, `job.changed`: what the data names has changed. "
            "`status`: what the queues hold. A stream ends after five minutes; come back with the last id.",
            "content": {"text/event-stream": {"schema": _EVENT, "example": _EXAMPLE}},
        }
    },
)
async def stream(
    request: Request,
    database: DatabaseDep,
    last_event_id: Annotated[
        str | None,
        Header(max_length=100, description="The id of the last event that was read: the stream goes on after it"),
    ] = None,
    after: Annotated[
        str | None, Query(max_length=100, description="The same, for a client that cannot set the header")
    ] = None,
) -> EventStream:
    """Announce each change of an issue or of a job's state, once at least, in the order of their transactions.

    Where it cannot go on after the last event (older than an hour, or of another database), it begins with `sync`.
    """
    hub: Hub = request.app.state.hub
    if not hub.has_room:
        raise HTTPException(503, "Too many listen already, or the API is about to stop.", {"Retry-After": "5"})
    position = Position.parse(last_event_id or after)
    is_resumed = position is not None and await repository.has_all_since(database, position)
    cursor = position if position is not None and is_resumed else await repository.get_horizon(database)
    return EventStream(_frames(hub, cursor, is_resumed=is_resumed), headers=_HEADERS)


async def _frames(hub: Hub, cursor: Position, *, is_resumed: bool) -> AsyncGenerator[bytes]:
    yield (
        format_sse_event(retry=RETRY_MS)
        if is_resumed
        else format_sse_event(event="sync", data_str="{}", id=str(cursor), retry=RETRY_MS)
    )
    loop = asyncio.get_running_loop()
    ends_at, epoch, status = loop.time() + STREAM_MAX_S, hub.epoch, None
    with hub.listening(), suppress(DatabaseUnavailable):
        while not hub.closing and hub.epoch == epoch and loop.time() < ends_at:
            news = hub.news
            events, cursor = await hub.after(cursor)
            frames = [_frame(event) for event in events]
            if hub.status is not None and hub.status is not status:
                status = hub.status
                frames.append(format_sse_event(event="status", data_str=json.dumps(status)))
            if frames:
                yield b"".join(frames)
            elif not await _hears(news):
                yield format_sse_event(comment="heartbeat", id=str(cursor))


async def _hears(news: asyncio.Event) -> bool:
    try:
        await asyncio.wait_for(news.wait(), HEARTBEAT_S)
    except TimeoutError:
        return False
    return True


def _frame(event: Event) -> bytes:
    data = {"issue_id": event.issue_id, "job_id": event.job_id, "task": event.task, "state": event.state}
    known = {name: value for name, value in data.items() if value is not None}
    return format_sse_event(event=event.kind, data_str=json.dumps(known, default=str), id=str(event.position))
