"""Metrics of requests by route template, not by path, which would create a series per issue."""

import time
from collections.abc import Iterable

from fastapi.routing import APIRoute
from prometheus_client import Counter, Gauge, Histogram
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from api.asgi import HttpMiddleware, on_start
from api.metrics.labels import OTHER

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
"""Route label of unknown paths, and of requests rejected before routing."""
OBJECTIVE = ("POST", "/api/v1/issues")
"""The method and route whose time has an objective."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bucket limits in seconds. The objective of a POST is 0.25; the timeout of a database connection is 5."""

_LABELS = ["method", "route", "status_class"]
REQUESTS = Counter("issuetracker_http_requests_total", "Completed requests.", _LABELS)
SECONDS = Histogram(
    "issuetracker_http_request_seconds", "Seconds until the response starts.", _LABELS, buckets=BUCKETS
)
IN_FLIGHT = Gauge("issuetracker_http_requests_in_flight", "Requests in progress, including the scrape itself.")


def prepare(routes: Iterable[BaseRoute]) -> None:
    """Initialize the counts of each route, and the times of the objective's route, with 0.

    The many buckets of unused routes would slow every scrape.
    """
    for route in routes:
        # FastAPI stores an included router as one entry.
        included = getattr(route, "original_router", None)
        if included is not None:
            prepare(included.routes)
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                for status_class in ("2xx", "4xx", "5xx"):
                    REQUESTS.labels(method, route.path, status_class)
                    if (method, route.path) == OBJECTIVE:
                        SECONDS.labels(method, route.path, status_class)


class RequestMetrics(HttpMiddleware):
    """Counts and times requests.

    A request is counted when its response starts, because an event stream may never end.
    """

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        started = time.perf_counter()
        is_counted = False

        def count(status: int) -> None:
            nonlocal is_counted
            is_counted = True
            labels = (_method(scope), getattr(scope.get("route"), "path", UNMATCHED), f"{status // 100}xx")
            REQUESTS.labels(*labels).inc()
            SECONDS.labels(*labels).observe(time.perf_counter() - started)

        with IN_FLIGHT.track_inprogress():
            try:
                await self._app(scope, receive, on_start(send, lambda start: count(start["status"])))
            finally:
                if not is_counted:
                    count(500)


def _method(scope: Scope) -> str:
    """Return the request's method; a client may send any word as one."""
    method: str = scope["method"]
    return method if method in METHODS else OTHER
