"""Decides which addresses webhooks may be delivered to: public addresses, and those that the operator allows.

A user who can create a webhook can make the workers send requests. Without this rule, that user could reach
servers that only the workers can reach: the internal network, the machine itself, or a cloud's metadata service.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

Address = IPv4Address | IPv6Address

_HOST = re.compile(r"(?!-)[a-z0-9._-]{1,253}")
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")


@dataclass(frozen=True, slots=True)
class AllowedTargets:
    """The addresses that WEBHOOK_ALLOW lists."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse a comma-separated list of networks, addresses and host names; raise ValueError on others."""
        if isinstance(value, cls):
            return value
        networks, hosts = [], set()
        for part in filter(None, (part.strip().lower() for part in str(value).split(","))):
            try:
                networks.append(ip_network(part))
            except ValueError:
                # A misspelled network is not a host name, because host names do not end in a number.
                if _HOST.fullmatch(part) is None or part.rsplit(".", maxsplit=1)[-1].isdigit():
                    raise ValueError(
                        f'"{part}" is not a network, an address or a host name. '
                        "Use values such as 10.0.0.0/8, 10.1.2.3 or hooks.example.internal"
                    ) from None
                hosts.add(part)
        return cls(tuple(networks), frozenset(hosts))

    def permits(self, host: str, address: Address) -> bool:
        """Return whether a delivery to a URL's host at its resolved address is allowed."""
        target = extract_ipv4(address)
        is_named = host.lower() in self.hosts or any(target in network for network in self.networks)
        return is_named or is_public(address)


def is_public(address: Address) -> bool:
    """Return whether an address is public. For an address that embeds an IPv4 address, the latter counts."""
    target = extract_ipv4(address)
    if isinstance(target, IPv4Address):
        return target.is_global and not target.is_multicast and not target.is_reserved
    return target.is_global and target in _GLOBAL_UNICAST


def extract_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address embeds (mapped, 6to4, NAT64), or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    embedded = address.ipv4_mapped or address.sixtofour
    if embedded is None and address in _NAT64:
        embedded = IPv4Address(int(address) & 0xFFFF_FFFF)
    return embedded or address


def parse_ip_literal(host: str) -> Address | None:
    """Return the address if a URL's host is an IP address; return None if it is a name that needs a DNS lookup."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None
