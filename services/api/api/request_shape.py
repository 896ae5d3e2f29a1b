"""Refuse requests of a shape that no client sends, before any other work."""

from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.asgi import HttpMiddleware
from api.problems import FieldProblem, problem
from contracts.validation import format_value

PARAMETERS_MAX = 100
"""Parameters of a query. Each unknown one costs an error message."""
REPEATABLE = frozenset({"map", "tag", "value"})
"""Parameters that may be repeated. Of another one, a proxy and the API could read different values."""

SINGLE = frozenset(
    {
        *(b"authorization", b"content-length", b"content-type", b"cookie", b"host", b"idempotency-key"),
        *(b"origin", b"sec-fetch-site", b"x-request-id"),
    }
)
"""Headers that a proxy and the API could read differently if they occur twice."""


class RequestShape(HttpMiddleware):
    """Returns 431 for a head that is too long, 400 for a doubled header or too many parameters.

    A repeated parameter gets 422 with its name.
    """

    def __init__(self, app: ASGIApp, head_max_bytes: int) -> None:
        super().__init__(app)
        self._head_max_bytes = head_max_bytes

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        fault = self._explain(scope)
        if fault is not None:
            await problem(*fault)(scope, receive, send)
        elif (parameter := _find_repeated(scope["query_string"])) is not None:
            await _reject_repeated(parameter)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _explain(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and the detail of the fault, if there is one."""
        query, headers = scope["query_string"], scope["headers"]
        names = [name for name, _ in headers if name in SINGLE]
        if len(names) != len(set(names)):
            doubled = next(name for name in names if names.count(name) > 1).decode()
            return 400, f"The request has the header {doubled} more than once. Send it once."
        if query.count(b"&") >= PARAMETERS_MAX:
            return 400, f"The query has more than {PARAMETERS_MAX} parameters. Send fewer."
        # `api.connections` refuses longer heads while they arrive, but only in steps of what arrived at once.
        size = len(scope["raw_path"]) + len(query) + sum(len(name) + len(value) + 4 for name, value in headers)
        if size > self._head_max_bytes:
            return 431, f"The head of the request has more than {self._head_max_bytes} bytes. Send a smaller one."
        return None


def _reject_repeated(parameter: str) -> Response:
    detail = f"The query has the parameter {format_value(parameter)} more than once. Send it once."
    error = FieldProblem(pointer=f"query.{parameter}", rule="repeated_parameter", detail=detail)
    return problem(422, detail, errors=[error])


def _find_repeated(query: bytes) -> str | None:
    """Return the name of a parameter that occurs twice but must not, if there is one."""
    if b"&" not in query:
        return None
    seen = set()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in seen and name not in REPEATABLE:
            return name
        seen.add(name)
    return None
