"""The socket on which systemd receives the states of a service with `Type=notify`."""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import wait_until


class Notifications:
    """A real datagram socket. `address` is the value of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def received(self) -> list[str]:
        """Return the states since the last call."""
        states: list[str] = []
        while True:
            try:
                states += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return states

    def wait_for(self, state: str) -> list[str]:
        """Wait for a state and return all states until then."""
        states: list[str] = []

        def is_received() -> bool:
            states.extend(self.received())
            return state in states

        wait_until(is_received, state)
        return states

    def close(self) -> None:
        self._socket.close()


@contextmanager
def listen() -> Iterator[Notifications]:
    """Yield a socket in a short directory, because its address has at most 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        notifications = Notifications(str(Path(directory) / "notify"))
        yield notifications
        notifications.close()
