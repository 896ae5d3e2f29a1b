"""Bounds a request's body, by its announced length and by what really comes.

FastAPI's own `max_body_size` answers in plain text; every error here is a problem document.
"""

from collections.abc import Mapping

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem


class BodyLimit:
    """Answers 413 to a body of more than `max_bytes`, without reading the rest of it.

    `of_path` says otherwise for single paths.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, of_path: Mapping[str, int]) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._of_path = of_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        max_bytes = self._of_path.get(scope.get("path", ""), self._max_bytes)
        detail = f"The body is over {max_bytes} bytes."
        announced = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        if announced.isdecimal() and int(announced) > max_bytes:
            await problem(413, detail)(scope, receive, send)
            return
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise HTTPException(413, detail)
            return message

        await self._app(scope, bounded, send)
