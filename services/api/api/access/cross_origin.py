"""Refuses what another site's page makes a browser send, where the browser alone would let it in.

A token in a header is nothing that a foreign page can send; a session's cookie, or a request to an address on
this machine, is. The rules are those of Go's net/http.CrossOriginProtection: what the browser says of itself
decides, then whether `Origin` names the host that was asked. No token in a form is needed.
"""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit


def cross_origin_reason(headers: Mapping[str, str], allowed: Collection[str]) -> str | None:
    """Return why an unsafe request may not be the user's will; None where it is, or no browser sent it."""
    origin = headers.get("origin")
    if origin is not None and origin in allowed:
        return None
    site = headers.get("sec-fetch-site")
    if site is not None:
        return (
            None if site in {"same-origin", "none"} else f"a page of another site sent it (Sec-Fetch-Site: {site})"
        )
    if origin is None or _host_of(origin) == headers.get("host"):
        return None
    return f"a page of {origin[:200]} sent it"


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
