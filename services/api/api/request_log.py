"""Assign each request an id for its log lines, and write one log line per request."""

import asyncio
import re
import time
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, get_contextvars

from api.asgi import HttpMiddleware, on_start
from contracts import tracing
from contracts.ids import new_id
from contracts.limits import REQUEST_ID_PATTERN
from contracts.network import LIVENESS_PATH, METRICS_PATH, READINESS_PATH

HEADER = "X-Request-ID"

PROBES = frozenset({LIVENESS_PATH, READINESS_PATH, METRICS_PATH})
"""Paths that probes request every few seconds: logged at DEBUG and never traced."""

_VALID = re.compile(REQUEST_ID_PATTERN)

logger = structlog.get_logger(__name__)


def request_id() -> str | None:
    """Return the id of the current request."""
    found: str | None = get_contextvars().get("request_id")
    return found


def log_lost_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an exception of a task that no one awaits. asyncio's own line would quote its message."""
    logger.error("exception_unhandled", what=context.get("message"), exc_info=context.get("exception"))


class RequestLog(HttpMiddleware):
    """Takes a request's id from its `X-Request-ID` header, or creates one, and returns it in the response.

    The log line has the route's template, never the path or the query, which may contain user input.
    """

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        given = Headers(scope=scope).get(HEADER, "")
        this = given if _VALID.fullmatch(given) else str(new_id())
        status: int | None = None

        def add_id(message: Message) -> None:
            nonlocal status
            status = message["status"]
            MutableHeaders(scope=message)[HEADER] = this

        started = time.perf_counter()
        bound: dict[str, Any] = {"request_id": this, **tracing.ids()}
        tracing.annotate({"request_id": this})
        with bound_contextvars(**bound):
            try:
                await self._app(scope, receive, on_start(send, add_id))
            finally:
                log = logger.debug if scope["path"] in PROBES else logger.info
                log(
                    "request_completed",
                    method=scope["method"],
                    route=getattr(scope.get("route"), "path", "unmatched"),
                    status=status,
                    duration_ms=round((time.perf_counter() - started) * 1000, 1),
                )
