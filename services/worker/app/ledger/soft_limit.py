"""The soft time limit of one job of a batch. Celery's own limits are those of the message."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

from celery.exceptions import SoftTimeLimitExceeded

_is_armed = False


@contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Raise SoftTimeLimitExceeded in the body after `seconds`.

    The signal differs from Celery's SIGUSR1, which stays the limit of the whole message. Celery's pools of threads
    have no soft limits: only the main thread receives signals.
    """
    if current_thread() is not main_thread():
        yield
        return
    global _is_armed  # noqa: PLW0603 - a signal handler has no other state
    signal.signal(signal.SIGALRM, _interrupt)
    _is_armed = True
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        _is_armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    if _is_armed:
        raise SoftTimeLimitExceeded
