"""Free ports for the servers of tests."""

import os
import secrets
from functools import cache
from itertools import chain, cycle

from devstack.network import is_taken

PORTS = range(12_000, 32_000)
"""Below the ports that Linux assigns to outgoing connections (from 32768).

A test starts its server later, and some tests restart it on the same port. No connection may take it meanwhile.
"""
PROCESSES_MAX = 8
"""The maximum number of test processes (Makefile), each of which uses its own part of the ports."""


@cache
def _own_ports() -> "cycle[int]":
    """Return the ports of this test process, from a random one, because other runs may use the same ports."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = PORTS[number % PROCESSES_MAX :: PROCESSES_MAX]
    start = secrets.randbelow(len(own))
    return cycle(chain(own[start:], own[:start]))


def free_port() -> int:
    """Return a loopback port that was free at the time of the call."""
    return next(port for port in _own_ports() if not is_taken(port))
