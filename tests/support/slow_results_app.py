"""The misbehaving application, whose processes write a long result in two parts, three seconds apart."""

import time
from typing import Any

from billiard.connection import Connection

from tests.support.misbehaving_app import app as app  # noqa: PLC0414 - the application of the worker

PAUSE_S = 3.0
CONNECTION: Any = Connection
_send = CONNECTION._send


def _send_slowly(self: Connection, buffer: Any, **kwargs: Any) -> None:
    _send(self, buffer, **kwargs)
    if len(buffer) == 4:  # the length of a result of more than 16 KiB
        time.sleep(PAUSE_S)


CONNECTION._send = _send_slowly
