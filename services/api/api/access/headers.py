"""Security headers of every response."""

from starlette.types import Message, Receive, Scope, Send

from api.access.open_paths import OPEN_PREFIX
from api.asgi import HttpMiddleware, on_start

_OWN_FILES = (
    b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:; "
    b"object-src 'none'; require-trusted-types-for 'script'; "
)
POLICY = _OWN_FILES + b"trusted-types 'none'"
"""Own scripts and styles only, and no text that becomes HTML or a script; no effect on JSON."""
DOCS_POLICY = _OWN_FILES + b"style-src 'self' 'unsafe-inline'; trusted-types default dompurify 'allow-duplicates'"
"""For Swagger UI and Redoc, which set styles of elements."""
_DOCS = frozenset({"/docs", "/redoc"})

FIXED = [
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
HSTS = (b"strict-transport-security", b"max-age=31536000")
PRIVATE = (b"cache-control", b"private, no-cache")
"""A browser may store the response and must revalidate it; a shared cache must not store it."""
CHECKED = (b"cache-control", b"no-cache")
"""A browser revalidates its copy, so that the page and its modules match after an upgrade."""


class SecurityHeaders(HttpMiddleware):
    """Adds the headers to every response, unless the endpoint has set them."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""

        def add_headers(message: Message) -> None:
            present = {name for name, _ in message["headers"]}
            added = [header for header in _headers(scope) if header[0] not in present]
            message["headers"] = [*message["headers"], *added]

        await self._app(scope, receive, on_start(send, add_headers))


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
