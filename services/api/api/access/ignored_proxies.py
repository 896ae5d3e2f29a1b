"""Detect a reverse proxy whose forwarding headers are ignored, because FORWARDED_ALLOW_IPS does not list it.

Then all clients have the proxy's address, share its budget of failed logins, and get cookies without `Secure`.
"""

from collections.abc import Mapping
from ipaddress import ip_address

import structlog
from cachetools import TTLCache
from starlette.types import Scope

from api.access.client_address import client_address
from contracts.webhook_targets import is_public

REPORTED_FOR_S = 600
PROXIES_MAX = 16

logger = structlog.get_logger(__name__)


class IgnoredProxies:
    """The proxies whose headers were ignored in the last minutes."""

    def __init__(self) -> None:
        self._addresses = TTLCache[str, None](PROXIES_MAX, REPORTED_FOR_S)

    def observe(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Record the peer of a request with forwarding headers if they were ignored; log it once.

        uvicorn replaces the client's address and the scheme only for trusted peers. A peer with a public
        address is a client that sends the headers itself.
        """
        if "x-forwarded-for" not in headers and "x-forwarded-proto" not in headers:
            return
        address = client_address(scope)
        forwarded = {each.strip() for each in headers.get("x-forwarded-for", "").split(",")}
        is_scheme_ignored = headers.get("x-forwarded-proto", scope["scheme"]) != scope["scheme"]
        if not is_scheme_ignored and ("x-forwarded-for" not in headers or address in forwarded):
            return
        if not _is_private(address):
            return
        if address not in self._addresses:
            logger.warning("forwarded_headers_ignored", peer=address, next="set FORWARDED_ALLOW_IPS to your proxy")
        self._addresses[address] = None

    @property
    def address(self) -> str | None:
        """The address of one of them, or None."""
        return next(iter(self._addresses), None)


def _is_private(address: str) -> bool:
    try:
        return not is_public(ip_address(address))
    except ValueError:
        return False
