"""Waits for conditions with one deadline, which is generous because a loaded machine is slow."""

import time
from collections.abc import Callable

DEADLINE_S = 240
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1
"""Most conditions query a server. More frequent queries take the processor from the work that they wait for."""


def wait_until(condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
    """Poll until the condition is true, less and less often.

    Fail after DEADLINE_S with `what`, which may be computed then.
    """
    deadline = time.monotonic() + DEADLINE_S
    pause_s = FIRST_PAUSE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_S} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, LONGEST_PAUSE_S)
