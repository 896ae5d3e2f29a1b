"""Errors as RFC 9457 problem details, for every route and every kind of error."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.database import DatabaseUnavailable
from api.request_log import request_id

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
ERRORS_MAX = 20
"""Errors that one answer lists; a body may hold 100,000 unknown fields."""

logger = structlog.get_logger(__name__)

Found = TypeVar("Found")


class FieldProblem(BaseModel):
    """One field that breaks one rule."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) into the body, or the parameter's name")
    rule: str = Field(description="The rule's stable name")
    detail: str


class Problem(BaseModel):
    """An error's body (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str | None = Field(default=None, description="As in `X-Request-ID`: what the logs know it by")
    errors: list[FieldProblem] | None = None


class ProblemError(HTTPException):
    """An error whose problem document has members of its own beside the usual ones."""

    def __init__(self, status: int, detail: str, extensions: dict[str, str]) -> None:
        super().__init__(status, detail)
        self.extensions = extensions


def not_found(what: str) -> HTTPException:
    """Return the 404 of `what`, such as `issue 01a2...`."""
    return HTTPException(404, f"There is no {what}.")


def require_found(found: Found | None, what: str) -> Found:
    """Return `found`. If it is None, raise the 404 of `what`."""
    if found is None:
        raise not_found(what)
    return found


def invalid(location: tuple[str | int, ...], rule: str, detail: str) -> RequestValidationError:
    """Return the error of one field that breaks a rule which only the database, or other fields, can tell.

    `location` is as FastAPI writes it: `("body", "tags", 0)`, `("query", "cursor")`.
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
    extensions: dict[str, str] | None = None,
) -> JSONResponse:
    """Return a problem response with the status's own title; `extensions` are further members."""
    body = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, request_id=request_id(), errors=errors
    )
    return JSONResponse(
        {**body.model_dump(exclude_none=True), **(extensions or {})},
        status_code=status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def pointer_of(location: tuple[str | int, ...]) -> str:
    """Return how problems name a location that is as FastAPI writes it: `#/title`, `query.cursor`."""
    source, *path = location
    if source != "body":
        return ".".join(str(part) for part in location)
    return "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _allowed(request: Request) -> str:
    """Return all methods of the path: Starlette names those of the first route that has it."""
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return ", ".join(sorted({method for route in routes for method in getattr(route, "methods", None) or ()}))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return problem(
            405, f"{request.url.path} is not for {request.method}.", headers={"Allow": _allowed(request)}
        )
    extensions = error.extensions if isinstance(error, ProblemError) else None
    return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}), extensions=extensions)


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        where = next(fault for fault in faults if fault["type"] == "json_invalid")
        return problem(400, f"The body is not JSON: {where['ctx']['error']} at character {where['loc'][-1]}.")
    if any(fault["loc"] == ("body",) for fault in faults) and not _is_json(
        request.headers.get("content-type", "")
    ):
        return problem(415, "Send the body as application/json.")
    errors = [
        FieldProblem(pointer=pointer_of(fault["loc"]), rule=fault["type"], detail=fault["msg"])
        for fault in faults[:ERRORS_MAX]
    ]
    detail = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in errors)
    if len(faults) > ERRORS_MAX:
        detail += f"; and {len(faults) - ERRORS_MAX} more"
    return problem(422, detail, errors=errors)


async def database_unavailable(_request: Request, error: Exception) -> JSONResponse:
    """Answer 503, and say whether anything may have been stored."""
    assert isinstance(error, DatabaseUnavailable)
    logger.warning("database_request_failed", error=str(error))
    outcome = (
        "whether the request was carried out is not known: look before you repeat it."
        if error.may_be_committed
        else "nothing was stored. Try again."
    )
    return problem(503, f"The database does not answer; {outcome}", headers={"Retry-After": str(RETRY_AFTER_S)})


class UnexpectedErrors:
    """Answers 500 to what no handler foresaw, and keeps the connection usable.

    Starlette's own handler for Exception raises it again after the answer, so that uvicorn logs it a
    second time and drops the connection under the client's next request.
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
        except Exception:
            logger.exception("request_failed")
            if started or scope["type"] != "http":
                raise
            await problem(500, "An unexpected error, which has been logged.")(scope, receive, send)


def _openapi(app: FastAPI, descriptions: Sequence[Callable[[dict[str, Any]], None]]) -> dict[str, Any]:
    """FastAPI documents its own 422 shape; replace it by ours, and add the Problem schema and what else holds."""
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
    """Register the handlers on the application, and say in its OpenAPI document what they answer.

    `descriptions` add to the document what holds for many operations.
    """
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(DatabaseUnavailable, database_unavailable)
    app.add_middleware(UnexpectedErrors)
    app.openapi = lambda: _openapi(app, descriptions)  # type: ignore[method-assign] # the documented way to change it
