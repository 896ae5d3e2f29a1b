"""Protect against cross-site request forgery.

Another site's page can make a browser send a session cookie, or a request to this machine, but not a token in a
header. The rules are those of Go's net/http.CrossOriginProtection: the Sec-Fetch-Site header decides, and without
it the Origin header must match the Host header. Forms need no CSRF token.
"""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit


def explain_cross_origin(headers: Mapping[str, str], allowed: Collection[str]) -> str | None:
    """Return why an unsafe request is cross-origin, or None if it is not or no browser sent it."""
    origin = headers.get("origin")
    if origin is not None and origin in allowed:
        return None
    site = headers.get("sec-fetch-site")
    if site is not None:
        return None if site in {"same-origin", "none"} else f"it comes from another site (Sec-Fetch-Site: {site})"
    if origin is None or _host_of(origin) == headers.get("host"):
        return None
    return f"it comes from a page of {origin[:200]}"


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
