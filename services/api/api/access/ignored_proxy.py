"""Detect a reverse proxy whose forwarding headers are ignored, because FORWARDED_ALLOW_IPS does not list it.

Then all clients have the proxy's address, share its budget of failed logins, and get cookies without `Secure`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import structlog
from starlette.types import Scope

from api.access.client_address import client_address
from contracts.webhook_targets import is_public

REPORTED_FOR = timedelta(minutes=10)

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class IgnoredProxy:
    """The last proxy whose headers were ignored."""

    _address: str | None = None
    _seen_at: datetime | None = None

    def observe(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Record the peer of a request with forwarding headers if they were ignored; log each new one.

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
        if address != self._address:
            logger.warning("forwarded_headers_ignored", peer=address, next="set FORWARDED_ALLOW_IPS to your proxy")
        self._address, self._seen_at = address, datetime.now(UTC)

    @property
    def address(self) -> str | None:
        """The address of the proxy, or None if it sent no request in the last minutes."""
        is_recent = self._seen_at is not None and datetime.now(UTC) - self._seen_at < REPORTED_FOR
        return self._address if is_recent else None


def _is_private(address: str) -> bool:
    try:
        return not is_public(ip_address(address))
    except ValueError:
        return False
