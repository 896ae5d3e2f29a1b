"""What every answer tells a browser."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.open_paths import OPEN_PREFIX

POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:; "
    "object-src 'none'"
)
"""For the page, whose scripts and styles are files of its own; harmless for JSON."""
DOCS_POLICY = "base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
"""The pages that FastAPI makes of the OpenAPI document load their scripts from elsewhere."""
_DOCS = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc"})

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
HSTS = "max-age=31536000"


class SecurityHeaders:
    """Adds the headers to every answer; one that an endpoint has set stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(MutableHeaders(scope=message), scope)
            await send(message)

        await self._app(scope, receive, with_headers)


def _add(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    path = scope["path"]
    headers.setdefault("Content-Security-Policy", DOCS_POLICY if path in _DOCS else POLICY)
    if path.startswith("/api/"):
        # A browser may keep an answer and ask whether it still holds; a shared cache may not keep it.
        headers.setdefault("Cache-Control", "private, no-cache")
    elif path.startswith(OPEN_PREFIX):
        # A browser asks whether its copy still holds: after an upgrade the page and its modules fit together.
        headers.setdefault("Cache-Control", "no-cache")
    if scope["scheme"] == "https":
        headers.setdefault("Strict-Transport-Security", HSTS)
