"""Connections on which tests send the bytes of a request as they like."""

import json
import socket
from contextlib import suppress
from typing import Any, Self

from tests.support.processes import Api

TIMEOUT_S = 60
SMALL_BUFFER = 4096


class RawConnection:
    """A connection to an API, without the checks of an HTTP client."""

    def __init__(self, api: Api, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.connect((api.client.base_url.host, api.client.base_url.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """Send the bytes; return whether the connection is still open."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def read_all(self) -> bytes:
        """Return everything that arrives until the server closes the connection."""
        received = bytearray()
        with suppress(ConnectionError):
            while data := self._socket.recv(65536):
                received += data
        return bytes(received)

    def read_problem(self) -> dict[str, Any]:
        """Return the problem document of the only response."""
        head, _, body = self.read_all().partition(b"\r\n\r\n")
        problem: dict[str, Any] = json.loads(body)
        assert head.split(b" ")[1] == str(problem["status"]).encode(), head
        return problem
