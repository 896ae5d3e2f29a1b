"""Which addresses a webhook may be delivered to: public ones, and what the operator allows besides.

Whoever may make a webhook has the workers send requests. Without this rule they would reach what only the workers
can: servers of the same network, the machine itself, a cloud's metadata service.
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
    """What WEBHOOK_ALLOW names."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a list of networks, addresses and host names, separated by commas; raise ValueError on others."""
        if isinstance(value, cls):
            return value
        networks, hosts = [], set()
        for part in filter(None, (part.strip().lower() for part in str(value).split(","))):
            try:
                networks.append(ip_network(part))
            except ValueError:
                # A network that is written wrong is no name: names do not end in a number.
                if _HOST.fullmatch(part) is None or part.rsplit(".", maxsplit=1)[-1].isdigit():
                    raise ValueError(f"{part!r} should be a network, an address or a host name") from None
                hosts.add(part)
        return cls(tuple(networks), frozenset(hosts))

    def permits(self, host: str, address: Address) -> bool:
        """Tell whether a URL's host may be reached at the address that it has."""
        meant = embedded_ipv4(address)
        is_named = host.lower() in self.hosts or any(meant in network for network in self.networks)
        return is_named or is_public(address)


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the internet's, and so is the IPv4 address in it, if there is one."""
    meant = embedded_ipv4(address)
    if isinstance(meant, IPv4Address):
        return meant.is_global and not meant.is_multicast and not meant.is_reserved
    return meant.is_global and meant in _GLOBAL_UNICAST


def embedded_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to (mapped, 6to4, NAT64); any other as it is."""
    if isinstance(address, IPv4Address):
        return address
    in_it = address.ipv4_mapped or address.sixtofour
    if in_it is None and address in _NAT64:
        in_it = IPv4Address(int(address) & 0xFFFF_FFFF)
    return in_it or address


def parse_ip_literal(host: str) -> Address | None:
    """Return the address that a URL's host is; None where it is a name, which has to be looked up."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None
