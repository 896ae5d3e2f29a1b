"""Detects a signal that GNU make received and did not forward."""

import os
import signal
from contextlib import suppress
from pathlib import Path

NUMBERS = (signal.SIGHUP, signal.SIGINT)


def find_make() -> int | None:
    """Return the process id of the `make` that started this process, or None. Other programs pass on MAKELEVEL."""
    parent = os.getppid()
    if "MAKELEVEL" not in os.environ:
        return None
    with suppress(OSError):  # without /proc
        if Path(f"/proc/{parent}/comm").read_text().strip() not in {"make", "gmake"}:
            return None
    return parent


def is_interrupted(make: int) -> bool:
    """Return whether the process `make` was interrupted or has ended. Without /proc, return whether it has ended.

    make forwards SIGTERM to its recipe. After SIGHUP and SIGINT it waits for the recipe, because a terminal sends
    them to both. Until then, its handler blocks the signal and has reset its action to the default.
    """
    if os.getppid() != make:
        return True
    try:
        lines = Path(f"/proc/{make}/status").read_text().splitlines()
    except OSError:
        return False
    fields = dict(line.split(":", 1) for line in lines)
    blocked, caught, ignored = (int(fields[name], 16) for name in ("SigBlk", "SigCgt", "SigIgn"))
    return any(blocked & ~caught & ~ignored & 1 << (number - 1) for number in NUMBERS)
