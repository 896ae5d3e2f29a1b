"""Reports the state of a service to systemd by the protocol of sd_notify(3), for units with `Type=notify`.

Not by a library: sdnotify's last release is of 2017, systemd-python and cysystemd need libsystemd, and
systemd-watchdog has more lines than this module saves.
"""

import os
import socket
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"
"""The service still works. systemd restarts it if this is missing for the time of `WatchdogSec=`."""

WATCHDOG_INTERVAL_S = 2
TIMEOUT_S = 1
"""The time to wait if systemd does not read its socket."""


def notify(state: str) -> None:
    """Send a state to systemd. Without systemd this does nothing, and a state that cannot be sent is dropped."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    # A path, or the name of an abstract socket. Other kinds of addresses are for virtual machines.
    if address.startswith(("/", "@")):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(TIMEOUT_S)
            client.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
