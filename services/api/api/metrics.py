"""What the API exposes to Prometheus."""

import time

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.network import METRICS_PATH

REQUESTS = Counter("issuetracker_http_requests_total", "Requests answered.", ["method", "route", "status_class"])
LATENCY = Histogram("issuetracker_http_request_seconds", "Time to answer.", ["method", "route"])

STREAMS = frozenset({"/api/v1/events"})
"""Routes that answer for minutes on purpose: how long they took would say nothing of how fast the API is."""

router = APIRouter(include_in_schema=False)


@router.get(METRICS_PATH)
async def metrics() -> Response:
    """Answer a scrape."""
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


class RequestMetrics:
    """Counts and times requests by route template: never by path, which would be one series an issue."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, observe)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            REQUESTS.labels(scope["method"], route, f"{status // 100}xx").inc()
            if route not in STREAMS:
                LATENCY.labels(scope["method"], route).observe(time.perf_counter() - started)
