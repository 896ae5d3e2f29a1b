"""Reports the followers of a batch as Celery would report them: events for Flower, and results in Redis.

Celery itself reports the lead, which has a message. Reports are for people. During an outage of Redis they are
lost, but the jobs are not.
"""

import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import structlog
from celery import Task, states
from celery.exceptions import Retry
from kombu.exceptions import OperationalError
from redis import RedisError

from contracts.faults import safe_message

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Report:
    """What happened to a follower. Times are in Unix seconds."""

    job_id: UUID
    message: dict[str, Any]
    received_at: float = field(default_factory=time.time)
    started_at: float = 0
    ended_at: float = 0
    result: dict[str, Any] | None = None
    """The Celery result of a job that has ended without a failure."""
    failure: Exception | None = None
    """`Retry` or `JobDead`."""


def report(task: "Task[Any, Any]", reports: list[Report]) -> None:
    """Publish the events of the followers and store their results."""
    ended = [each for each in reports if each.result is not None or each.failure is not None]
    if not ended:
        return
    try:
        _store_results(task, ended)
        _send_events(task, ended)
    except (RedisError, OperationalError, OSError) as error:
        _event_sender.cache_clear()  # its connection is lost
        logger.warning("batch_not_reported", jobs=len(ended), error=safe_message(error))


def _store_results(task: "Task[Any, Any]", reports: list[Report]) -> None:
    backend: Any = task.backend
    with backend.client.pipeline(transaction=False) as pipe:
        for each in reports:
            task_id = str(each.job_id)
            result = each.result if each.failure is None else backend.prepare_exception(each.failure)
            meta = backend._get_result_meta(result, _state(each), None, None)  # noqa: SLF001
            pipe.setex(
                backend.get_key_for_task(task_id), backend.expires, backend.encode({**meta, "task_id": task_id})
            )
        pipe.execute()


def _state(each: Report) -> str:
    if each.failure is None:
        return states.SUCCESS
    return states.RETRY if isinstance(each.failure, Retry) else states.FAILURE


@cache
def _event_sender(task: "Task[Any, Any]") -> Any:
    """Return this process's sender of events, which buffers them until `flush`."""
    return task.app.events.Dispatcher(
        task.app.connection_for_write(),
        hostname=task.request.hostname,
        buffer_while_offline=False,
        buffer_group={"task"},
        buffer_limit=1_000_000,
    )


def _send_events(task: "Task[Any, Any]", reports: list[Report]) -> None:
    if not task.app.conf.worker_send_task_events:
        return
    sender = _event_sender(task)
    for each in reports:
        task_id = str(each.job_id)
        sender.send(
            "task-received",
            timestamp=each.received_at,
            uuid=task_id,
            name=task.name,
            args="()",
            kwargs=repr(each.message),
            root_id=task_id,
            parent_id=None,
            retries=0,
            eta=None,
            expires=None,
        )
        sender.send("task-started", timestamp=each.started_at, uuid=task_id)
        if each.failure is None:
            runtime = each.ended_at - each.started_at
            sender.send(
                "task-succeeded", timestamp=each.ended_at, uuid=task_id, result=repr(each.result), runtime=runtime
            )
        else:
            kind = "task-retried" if _state(each) == states.RETRY else "task-failed"
            sender.send(kind, timestamp=each.ended_at, uuid=task_id, exception=repr(each.failure), traceback="")
    sender.flush()
