"""Base class and helper of the ASGI middlewares."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HttpMiddleware(ABC):
    """Middleware of HTTP requests; everything else, such as the lifespan, passes through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        await (self._app if scope["type"] != "http" else self.serve)(scope, receive, send)

    @abstractmethod
    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""


def on_start(send: Send, act: Callable[[Message], None]) -> Send:
    """Return a `send` that calls `act` with the message that starts the response, before it is sent."""

    async def observe(message: Message) -> None:
        if message["type"] == "http.response.start":
            act(message)
        await send(message)

    return observe
