"""The client's address, for logs and for the budgets of failed authentications."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope

from contracts.webhook_targets import extract_ipv4

SUBNET_BITS = 64
"""One user has at least this much of an IPv6 address (RFC 6177)."""
ADDRESS_MAX = 64
"""Characters of an address; a trusted proxy may forward any text."""


def client_address(scope: Scope) -> str:
    """Return the address of the client, or of the last proxy that is not trusted."""
    client = scope.get("client")
    return str(client[0])[:ADDRESS_MAX] if client else "unknown"


@lru_cache(maxsize=1024)
def budget_key(address: str) -> str:
    """Return what shares a budget: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        found = extract_ipv4(ip_address(address.partition("%")[0]))
    except ValueError:
        return address
    return str(ip_network((found, SUBNET_BITS), strict=False) if isinstance(found, IPv6Address) else found)
