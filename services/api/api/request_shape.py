"""Refuse requests of a shape that no client sends, before any other work."""

from starlette.types import Receive, Scope, Send

from api.asgi import HttpMiddleware
from api.problems import problem

PARAMETERS_MAX = 100
"""Parameters of a query. Each unknown one costs an error message."""


class RequestShape(HttpMiddleware):
    """Returns 400 for a query with too many parameters."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        fault = _explain(scope)
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await problem(400, fault)(scope, receive, send)


def _explain(scope: Scope) -> str | None:
    if scope["query_string"].count(b"&") >= PARAMETERS_MAX:
        return f"The query has more than {PARAMETERS_MAX} parameters. Send fewer."
    return None
