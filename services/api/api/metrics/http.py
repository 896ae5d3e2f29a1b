"""Requests, by route template: never by path, which would be one series an issue."""

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
"""The route of all paths that are none, and of what is refused before a route is looked for."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds; 0.25 is the objective of a POST, 5 the longest wait for a connection to the database."""

_LABELS = ["method", "route", "status_class"]
REQUESTS = Counter("issuetracker_http_requests_total", "Requests answered.", _LABELS)
SECONDS = Histogram("issuetracker_http_request_seconds", "Time until answered.", _LABELS, buckets=BUCKETS)
IN_FLIGHT = Gauge("issuetracker_http_requests_in_flight", "Requests under way, the scrape itself among them.")


def prepare(routes: Iterable[BaseRoute]) -> None:
    """Begin each route's counts at 0."""
    for route in routes:
        # FastAPI keeps a router that was included as one entry.
        included = getattr(route, "original_router", None)
        if included is not None:
            prepare(included.routes)
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                for status_class in ("2xx", "4xx", "5xx"):
                    REQUESTS.labels(method, route.path, status_class)
                    SECONDS.labels(method, route.path, status_class)


class RequestMetrics(HttpMiddleware):
    """Counts and times requests.

    A request is counted as its answer begins: a stream of events, which may never end, by how soon it began.
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
