"""Waits for conditions with one deadline, which is generous because a loaded machine is slow."""

import time
from collections.abc import Callable

DEADLINE_S = 240
POLL_S = 0.02


def wait_until(condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
    """Poll until the condition is true. Fail after DEADLINE_S with `what`, which may be computed then."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_S} s: {what if isinstance(what, str) else what()}")
        time.sleep(POLL_S)
