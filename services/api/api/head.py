"""Serve HEAD wherever GET is (RFC 9110, 9.3.2).

FastAPI's routes of GET do not accept HEAD, and adding it to each would repeat their operations in the document.
"""

from starlette.types import Message, Receive, Scope, Send

from api.asgi import HttpMiddleware

SCOPE_ENTRY = "is_head"
"""True in the scope of a HEAD request, which is routed as GET."""


class HeadRequests(HttpMiddleware):
    """Routes HEAD as GET and sends the response without its body. Its headers are those of GET."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # A copy, because uvicorn reads the method when it sends the response.
        routed = {**scope, "method": "GET", SCOPE_ENTRY: True}

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start" and "route" in routed:
                scope["route"] = routed["route"]  # for metrics and logs
            elif message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app(routed, receive, send_head)
