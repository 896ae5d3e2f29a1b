"""Decides which addresses webhooks may be delivered to: public addresses, and those that the operator allows.

A user who can create a webhook can make the workers send requests. Without this rule, that user could reach
servers that only the workers can reach: the internal network, the machine itself, or a cloud's metadata service.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

_HOST = re.compile(r"(?!-)[a-z0-9._-]{1,253}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")

# Not `is_global` of the interpreter, whose table differs between Python 3.11, 3.12 and 3.13. The rows of IANA's
# registries that are not globally reachable (RFC 6890), and the deprecated ones; the state of November 2026 at
# https://www.iana.org/assignments/iana-ipv4-special-registry and .../iana-ipv6-special-registry.
_SPECIAL_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared by carriers
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link local, metadata services
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # IETF protocols, also its anycast addresses
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays, deprecated
            "192.168.0.0/16",  # private use
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_SPECIAL_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF protocols: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
"""The rows within `_GLOBAL_UNICAST`; no other IPv6 address is public."""


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
        return not any(target in network for network in _SPECIAL_V4)
    return target in _GLOBAL_UNICAST and not any(target in network for network in _SPECIAL_V6)


def extract_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address embeds (mapped, 6to4, NAT64), or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    embedded = address.ipv4_mapped or address.sixtofour
    if embedded is None and address in _NAT64:
        embedded = IPv4Address(int(address) & 0xFFFF_FFFF)
    return embedded or address


def explain_host(url: str) -> str | None:
    """Return why the host or port of an http URL is not valid, or None if it is.

    Resolvers and HTTP clients disagree about numbers such as `2130706433`, `0x7f.1` and `127.1`, which some take
    for 127.0.0.1, and about escapes and missing parts.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "The host or port is not valid. Use a host name and a port from 1 to 65535."
    if port == 0 or parts.netloc.endswith(":"):
        return "The port is not valid. Use a port from 1 to 65535, or none."
    if isinstance(parse_ip_literal(host), IPv4Address) or _is_ipv6(parts.netloc, host):
        return None
    host = host.removesuffix(".")
    if _HOST.fullmatch(host) is None:
        return "The host is missing or not valid. Use a host name or an IP address."
    if _NUMBER.fullmatch(host.rsplit(".", maxsplit=1)[-1]):
        return "The host is a number. Use a host name, or an address such as 192.0.2.1."
    return None


def _is_ipv6(netloc: str, host: str) -> bool:
    return netloc.startswith("[") and "%" not in host and isinstance(parse_ip_literal(host), IPv6Address)


def parse_ip_literal(host: str) -> Address | None:
    """Return the address if a URL's host is an IP address; return None if it is a name that needs a DNS lookup."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None
