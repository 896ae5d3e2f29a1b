"""Run a POST with a key in one transaction, and store its response before sending it."""

import re
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.idempotency.dependency import HEADER, SCOPE_ENTRY, KeyUse, Replayed
from api.idempotency.repository import StoredResponse, store_response
from api.problems import problem

if TYPE_CHECKING:
    from api.database import Database

SECRET_PATHS = frozenset(
    {"/api/v1/session", "/api/v1/tokens", "/api/v1/webhooks", "/api/v1/webhooks/{webhook_id}/secret"}
)
"""Paths that accept no key, because their responses contain a secret, which must not be stored."""
_SECRET_PATH_PATTERN = re.compile("|".join(re.sub(r"{\w+}", "[^/]+", path) for path in SECRET_PATHS))
_ISSUE_PATH_PATTERN = re.compile(r"/api/v1/issues/([^/]+)")
STORED_HEADERS = ("content-type", "location", "etag", "link")
"""Response headers that clients depend on; the others are generated again."""


def get_key(scope: Scope) -> str | None:
    """Return the key of a POST request, or None if it has none or its path accepts none."""
    is_post = scope["type"] == "http" and scope["method"] == "POST"
    takes_key = is_post and _SECRET_PATH_PATTERN.fullmatch(scope["path"]) is None
    return Headers(scope=scope).get(HEADER) if takes_key else None


class _Rollback(Exception):
    """Rolls back the transaction of a request without effect."""


class IdempotentPosts:
    """Handles POST requests with an Idempotency-Key; passes on all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        key = get_key(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        try:
            received = await _receive_body(receive)
        except HTTPException as error:
            await problem(error.status_code, str(error.detail))(scope, receive, send)
            return
        buffered: list[Message] = []

        async def receive_again() -> Message:
            return received.popleft() if received else await receive()

        async def buffer(message: Message) -> None:
            buffered.append(message)

        with suppress(_Rollback):
            await self._run(scope, receive_again, buffer, KeyUse(key), buffered)
        for message in buffered:
            await send(message)

    async def _run(
        self, scope: Scope, receive: Receive, buffer: Send, use: KeyUse, buffered: list[Message]
    ) -> None:
        database: Database = scope["app"].state.database
        async with database.transaction():
            await self._app({**scope, SCOPE_ENTRY: use}, receive, buffer)
            stored = _build_stored_response(use, buffered)
            if stored is None:
                raise _Rollback
            issue_id = _find_issue(scope["path"]) or _find_issue(stored.headers.get("location", ""))
            await store_response(database, use.id, stored, issue_id)
        # The endpoint woke them before the commit.
        scope["app"].state.dispatcher.wake()
        scope["app"].state.importer.wake()


def _find_issue(path: str) -> UUID | None:
    """Return the issue that the path of a successful request, or of a new resource, names."""
    found = _ISSUE_PATH_PATTERN.match(path)
    try:
        return UUID(found[1]) if found else None
    except ValueError:
        return None


async def _receive_body(receive: Receive) -> deque[Message]:
    """Return the messages of the whole body, so that no transaction waits for a slow client."""
    messages = deque([await receive()])
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _build_stored_response(use: KeyUse, buffered: list[Message]) -> StoredResponse | None:
    """Return the response to store, or None for an error, a replay, and a key that was not looked up.

    An error has no effect, so a repeated request runs again.
    """
    start, *rest = buffered
    if use.fingerprint is None or use.is_replay or start["status"] >= 400:
        return None
    headers = Headers(raw=start["headers"])
    return StoredResponse(
        use.fingerprint,
        start["status"],
        {name: headers[name] for name in STORED_HEADERS if name in headers},
        b"".join(message.get("body", b"") for message in rest),
    )


async def _send_stored_response(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Replayed)
    stored = error.stored
    return Response(stored.body, stored.status, {**stored.headers, "Idempotency-Replayed": "true"})


def install(app: FastAPI) -> None:
    """Add idempotency to every POST of the application."""
    app.add_middleware(IdempotentPosts)
    app.add_exception_handler(Replayed, _send_stored_response)


def describe(document: dict[str, Any]) -> None:
    """Document the header on every POST that accepts it."""
    parameter = {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": "A key that the client chooses, such as a UUID. A request repeated with the same key "
        "within 24 hours has no further effect and gets the same response. The response is 409 while the first "
        "request is in progress, and 422 if the key belongs to a different request.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }
    for path, operations in document["paths"].items():
        if "post" in operations and path not in SECRET_PATHS:
            operations["post"].setdefault("parameters", []).append(parameter)
