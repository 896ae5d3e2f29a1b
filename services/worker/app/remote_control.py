"""Restrict remote control to commands that change nothing.

Celery executes the commands of every client of the broker, without authentication: anyone with the password of
Redis could stop workers, end their consumption of a queue or shorten their time limits.
"""

from functools import partial
from typing import Any

import structlog

READ_ONLY = frozenset(
    {
        "active",
        "active_queues",
        "clock",
        "conf",
        # Flower sends it repeatedly; the events are on anyway.
        "enable_events",
        "heartbeat",
        "ping",
        "query_task",
        "registered",
        "report",
        "reserved",
        "revoked",
        "scheduled",
        "stats",
    }
)
"""The commands of `celery inspect`, which Flower also uses, except those that are slow or write files."""

logger = structlog.get_logger(__name__)


def restrict_remote_control() -> None:
    """Reject all other commands in this worker."""
    from celery.worker.control import Panel  # noqa: PLC0415 - only a worker needs it

    for name in Panel.data.keys() - READ_ONLY:
        Panel.data[name] = partial(_reject, name)
    Panel.data["hello"] = _greet


def _reject(command: str, _state: Any, /, **_arguments: Any) -> dict[str, str]:
    logger.warning("remote_control_rejected", command=command)
    return {"error": f"{command} is not allowed: remote control of this worker is read-only."}


def _greet(state: Any, /, **_arguments: Any) -> dict[str, Any]:
    """Answer a worker that starts. Celery's own command also revokes the tasks that the other worker names."""
    return {"clock": state.app.clock.forward(), "revoked": {}}
