"""Connects to receivers at checked addresses only, even if a name resolves differently the next time."""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import ip_address

import httpcore2

from contracts.webhook_targets import Address, AllowedTargets


class PrivateAddress(Exception):
    """The name resolves only to addresses that webhooks may not be delivered to."""


class UnknownHost(Exception):
    """The name cannot be resolved."""


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Resolves a name once, and connects to one of the resulting addresses that are allowed.

    The client passes the host of the URL, and checks the certificate against that host.
    """

    def __init__(self, allowed: AllowedTargets) -> None:
        self._allowed = allowed
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - part of the interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first reachable address; raise PrivateAddress if no address is allowed."""
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
    # Without duplicates, in the resolver's order.
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
