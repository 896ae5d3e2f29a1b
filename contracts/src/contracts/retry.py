"""The retry schedule of a failed job."""

from collections.abc import Sequence
from datetime import timedelta

RETRY_DELAYS: tuple[float, ...] = (60.0, 120.0, 240.0)
"""Seconds between a failed attempt and the next one. The length is the number of retries."""


def max_attempts(delays: Sequence[float]) -> int:
    """Return the number of attempts that a schedule allows: the first attempt and its retries."""
    return len(delays) + 1


def delay_after(attempt: int, delays: Sequence[float]) -> timedelta | None:
    """Return the delay after failed attempt number `attempt` (from 1), or None if it was the last attempt."""
    return timedelta(seconds=delays[attempt - 1]) if attempt <= len(delays) else None
