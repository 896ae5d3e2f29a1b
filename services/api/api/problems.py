"""Errors as RFC 9457 problem details, for every route and every kind of error."""

from collections.abc import Callable, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.database import DatabaseUnavailable
from api.request_log import request_id
from contracts.validation import describe_error, format_value

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
ERRORS_MAX = 20
"""Errors that one response lists; a body may have 100,000 unknown fields."""
_UNREAD_BODY = "There was an error parsing the body"
"""FastAPI's detail of every error of a body that is not a syntax error of its JSON."""

logger = structlog.get_logger(__name__)

Found = TypeVar("Found")


class FieldProblem(BaseModel):
    """A field that breaks a rule."""

    pointer: str = Field(
        description="JSON Pointer (RFC 6901) into the body, or the parameter, such as `query.limit`"
    )
    rule: str = Field(description="Stable name of the rule")
    detail: str = Field(description="The offending value and the rule, in sentences")


class Problem(BaseModel):
    """Problem details of an error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str | None = Field(
        default=None, description="The value of the `X-Request-ID` header. Search the logs for it"
    )
    errors: list[FieldProblem] | None = None


class ProblemError(HTTPException):
    """An error whose problem document has extension members."""

    def __init__(self, status: int, detail: str, extensions: dict[str, Any]) -> None:
        super().__init__(status, detail)
        self.extensions = extensions


def not_found(what: str) -> HTTPException:
    """Return the 404 error for `what`, such as `issue 01a2...`."""
    return HTTPException(404, f"{what[0].upper()}{what[1:]} does not exist.")


def require_found(found: Found | None, what: str) -> Found:
    """Return `found`, or raise the 404 error for `what` if it is None."""
    if found is None:
        raise not_found(what)
    return found


def invalid(location: tuple[str | int, ...], rule: str, detail: str) -> RequestValidationError:
    """Return a 422 error for one field whose rule depends on the database or on other fields.

    `location` has FastAPI's form: `("body", "tags", 0)`, `("query", "cursor")`. `detail` is a sentence.
    """
    return RequestValidationError([{"loc": location, "type": rule, "msg": detail}])


OPENAPI_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Any error",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def problem(
    status: int,
    detail: str,
    *,
    errors: list[FieldProblem] | None = None,
    headers: dict[str, str] | None = None,
    extensions: dict[str, Any] | None = None,
) -> JSONResponse:
    """Return a problem response titled by its status; `extensions` are extension members."""
    body = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, request_id=request_id(), errors=errors
    )
    return JSONResponse(
        {**body.model_dump(exclude_none=True), **(extensions or {})},
        status_code=status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def format_pointer(location: tuple[str | int, ...]) -> str:
    """Return the pointer of a location in FastAPI's form: `#/title`, `query.cursor`."""
    source, *path = location
    if source != "body":
        return ".".join(str(part) for part in location)
    return "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def format_field(location: tuple[str | int, ...]) -> str:
    """Return the name of a field for a sentence: `external.id`, `cursor`; `body` for the body or its rows."""
    source, *path = location
    while path and isinstance(path[0], int):
        path = path[1:]
    return ".".join(str(part) for part in path) or str(source)


def format_position(text: str, position: int) -> str:
    """Return the place of a character of a text for a sentence: `line 3, column 17`, both from 1."""
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}"


def describe_encoding_error(error: UnicodeDecodeError) -> str:
    """Describe where a body is not UTF-8, in a sentence."""
    before = error.object[: error.start].decode(errors="replace")
    byte = error.object[error.start]
    return f"The body is not UTF-8: byte 0x{byte:02x} at {format_position(before, len(before))}. Send UTF-8."


def _describe_unread_body(cause: BaseException | None) -> str:
    if isinstance(cause, UnicodeDecodeError):
        return describe_encoding_error(cause)
    if isinstance(cause, RecursionError):
        return "The body is nested too deeply. Use fewer levels."
    return "The body could not be read. Send it again."


def _allowed(request: Request) -> str:
    """Return all methods of the path, also of included routers; Starlette lists only those of the first match."""
    allowed: set[str] = set()
    # A mount has changed this entry.
    scope = {**request.scope, "root_path": request.scope.get("app_root_path", "")}
    for context in iter_route_contexts(request.app.routes):
        if context.original_route.matches(scope)[0] is not Match.NONE:
            # Only the static files are mounted. They have no methods of their own.
            allowed |= {"GET"} if isinstance(context.original_route, Mount) else context.methods or set()
    # `api.head` serves HEAD wherever GET is.
    return ", ".join(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = _allowed(request)
        return problem(
            405,
            f"The method {request.method} is not allowed on this path. Use {allowed}.",
            headers={"Allow": allowed},
        )
    extensions = error.extensions if isinstance(error, ProblemError) else None
    detail = str(error.detail)
    if detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"The path {format_value(request.url.path)} does not exist."
    elif detail == _UNREAD_BODY:
        detail = _describe_unread_body(error.__cause__)
    return problem(error.status_code, detail, headers=dict(error.headers or {}), extensions=extensions)


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if (fault := next((each for each in faults if each["type"] == "json_invalid"), None)) is not None:
        where = format_position(str(error.body), int(fault["loc"][-1]))
        return problem(400, f"The body is not valid JSON: {fault['ctx']['error']} at {where}.")
    if any(fault["loc"] == ("body",) for fault in faults) and not _is_json(
        request.headers.get("content-type", "")
    ):
        detail = "The content type is not supported. Send the body as application/json."
        return problem(415, detail)
    shown = faults[:ERRORS_MAX]
    errors = [
        FieldProblem(pointer=format_pointer(fault["loc"]), rule=fault["type"], detail=describe_error(fault))
        for fault in shown
    ]
    sentences = [
        f"{format_field(fault['loc'])}: {error.detail}" for fault, error in zip(shown, errors, strict=True)
    ]
    if len(faults) > ERRORS_MAX:
        sentences.append(f"{len(faults) - ERRORS_MAX} more errors are not listed.")
    return problem(422, " ".join(sentences), errors=errors)


def _database_unavailable(error: DatabaseUnavailable) -> JSONResponse:
    """Return 503, and state whether the request may have been stored."""
    logger.warning("database_request_failed", error=str(error))
    outcome = (
        "The request may have been stored. Check before you repeat it."
        if error.may_be_committed
        else "Nothing was stored. Try again."
    )
    return problem(503, f"The database is unavailable. {outcome}", headers={"Retry-After": str(RETRY_AFTER_S)})


class UnexpectedErrors:
    """Returns 503 in an outage of the database and 500 for other exceptions, and keeps the connection usable.

    Starlette's own handler for Exception raises it again after the response. uvicorn then logs it a
    second time and closes the connection before the client's next request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        started = False

        async def observe(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except DatabaseUnavailable as error:
            if started:
                raise
            await _database_unavailable(error)(scope, receive, send)
        except Exception:
            logger.exception("request_failed")
            if started or scope["type"] != "http":
                raise
            await problem(500, "An unexpected error occurred. It is in the API's log under this request id.")(
                scope, receive, send
            )


def _openapi(app: FastAPI, descriptions: Sequence[Callable[[dict[str, Any]], None]]) -> dict[str, Any]:
    """Return the document with the Problem schema in place of FastAPI's own 422 schema."""
    document = FastAPI.openapi(app)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    if "Problem" not in schemas:
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        definition = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= definition.pop("$defs") | {"Problem": definition}
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for describe in descriptions:
            describe(document)
    return document


def install(app: FastAPI, *descriptions: Callable[[dict[str, Any]], None]) -> None:
    """Register the error handlers, and document their responses in the OpenAPI document.

    `descriptions` add what applies to many operations.
    """
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_middleware(UnexpectedErrors)
    app.openapi = lambda: _openapi(app, descriptions)  # type: ignore[method-assign] # the documented way to change it
    # Rendered once: a client without credentials may request it often.
    rendered = cache(lambda: JSONResponse(app.openapi()))

    async def serve(_: Request) -> Response:
        return rendered()

    app.add_route("/openapi.json", serve)
