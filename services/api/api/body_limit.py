"""Limit the size of request bodies, by the Content-Length header and by the received bytes.

FastAPI's own `max_body_size` responds in plain text; here every error is a problem document.
"""

from collections.abc import Mapping

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem


class BodyLimit:
    """Returns 413 for a body of more than `max_bytes`, without reading the rest of it.

    `of_path` has other limits for single paths.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, of_path: Mapping[str, int]) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._of_path = of_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        max_bytes = self._of_path.get(scope.get("path", ""), self._max_bytes)
        detail = f"The body has more than {max_bytes} bytes. Send a smaller one."
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
