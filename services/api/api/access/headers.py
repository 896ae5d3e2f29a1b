"""What every answer tells a browser."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.open_paths import OPEN_PREFIX

POLICY = (
    b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:; "
    b"object-src 'none'"
)
"""For the page, whose scripts and styles are files of its own; harmless for JSON."""
DOCS_POLICY = b"base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
"""The pages that FastAPI makes of the OpenAPI document load their scripts from elsewhere."""
_DOCS = frozenset({"/docs", "/docs/oauth2-redirect", "/redoc"})

FIXED = [
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
HSTS = (b"strict-transport-security", b"max-age=31536000")
PRIVATE = (b"cache-control", b"private, no-cache")
"""A browser may keep an answer and ask whether it still holds; a shared cache may not keep it."""
CHECKED = (b"cache-control", b"no-cache")
"""A browser asks whether its copy still holds: after an upgrade the page and its modules fit together."""


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
                present = {name for name, _ in message["headers"]}
                added = [header for header in _headers(scope) if header[0] not in present]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, with_headers)


def _headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    path = scope["path"]
    headers = [*FIXED, (b"content-security-policy", DOCS_POLICY if path in _DOCS else POLICY)]
    if path.startswith("/api/"):
        headers.append(PRIVATE)
    elif path.startswith(OPEN_PREFIX):
        headers.append(CHECKED)
    if scope["scheme"] == "https":
        headers.append(HSTS)
    return headers
