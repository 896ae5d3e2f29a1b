"""What answers without a token. Everything else is closed, also what somebody adds and forgets to think about."""

OPEN_PATHS = frozenset(
    {
        "/",
        "/docs",
        "/docs/oauth2-redirect",
        "/livez",
        "/metrics",
        "/openapi.json",
        "/readyz",
        "/redoc",
    }
)
"""The page, probes, metrics, and the description of an API that everybody can read in the repository."""

OPEN_PREFIX = "/static/"
"""The page's own files."""

LOGIN_PATH = "/api/v1/session"
"""Where the page hands in a token, or logs out, which must work when its session has ended."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""


def is_open(method: str, path: str) -> bool:
    """Tell whether a request is answered without a token; the path is compared as it is routed."""
    if path == LOGIN_PATH:
        return method in {"POST", "DELETE"}
    return method in SAFE_METHODS and (path in OPEN_PATHS or path.startswith(OPEN_PREFIX))
