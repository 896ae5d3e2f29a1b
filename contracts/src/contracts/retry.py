"""When a job that failed is tried again."""

from collections.abc import Sequence
from datetime import timedelta

RETRY_DELAYS: tuple[float, ...] = (60.0, 120.0, 240.0)
"""Seconds between an attempt's failure and the next attempt; its length is the number of retries."""


def max_attempts(delays: Sequence[float]) -> int:
    """Return how many attempts a schedule allows: the first one and its retries."""
    return len(delays) + 1


def delay_after(attempt: int, delays: Sequence[float]) -> timedelta | None:
    """Return how long to wait after failed attempt number `attempt` (from 1), None when it was the last."""
    return timedelta(seconds=delays[attempt - 1]) if attempt <= len(delays) else None
