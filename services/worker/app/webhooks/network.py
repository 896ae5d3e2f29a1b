"""Connections to receivers: only to addresses that were looked at, whatever a name leads to the next time."""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import ip_address

import httpcore2

from contracts.webhook_targets import Address, AllowedTargets


class PrivateAddress(Exception):
    """The name leads to no address that a webhook may be delivered to."""


class UnknownHost(Exception):
    """The name leads to no address at all."""


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Looks a name up once, and connects to one of the addresses found that are allowed.

    The client hands over the host that the URL names, and checks a certificate against that name.
    """

    def __init__(self, allowed: AllowedTargets) -> None:
        self._allowed = allowed
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers; raise PrivateAddress where none may be tried."""
        addresses = [address for address in await _look_up(host, port) if self._allowed.permits(host, address)]
        if not addresses:
            raise PrivateAddress
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(addresses[-1]), port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)


async def _look_up(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise UnknownHost from None
    # Each once, in the resolver's order.
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
