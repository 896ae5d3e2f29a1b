"""The paths that require no token. Every other path requires one, including new endpoints."""

OPEN_PATHS = frozenset(
    {
        "/",
        "/docs",
        "/livez",
        "/metrics",
        "/openapi.json",
        "/readyz",
        "/redoc",
    }
)
"""The page, probes, metrics, and the API documentation, which is public in the repository."""

OPEN_PREFIX = "/static/"
"""The page's own files."""

LOGIN_PATH = "/api/v1/session"
"""Login and logout of the page. Logout must work after the session has ended."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""


def is_open(method: str, path: str) -> bool:
    """Return whether a request requires no token; `path` is compared as it is routed."""
    if path == LOGIN_PATH:
        return method in {"POST", "DELETE"}
    return method in SAFE_METHODS and (path in OPEN_PATHS or path.startswith(OPEN_PREFIX))
