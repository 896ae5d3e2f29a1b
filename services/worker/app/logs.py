"""Sends Celery's log lines through structlog, with the fields of their job and without the errors of tasks."""

import ast
import logging
import re
from collections.abc import Mapping
from typing import Any

import celery.apps.worker as celery_terminal
import structlog
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from kombu.exceptions import OperationalError as BrokerError
from redis import RedisError
from sqlalchemy.exc import InterfaceError, OperationalError

from app.ledger.errors import ProviderError
from app.settings import settings
from contracts.faults import allow_message_in_logs
from contracts.logs import configure_logging, log_unhandled

allow_message_in_logs(BrokerError, RedisError, InterfaceError, OperationalError, ProviderError)
allow_message_in_logs(SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError)

logger = structlog.get_logger(__name__)

_PASSED_ON = ("request_id", "issue_id")
_REPR = re.compile(r"(\w+)\(.*\)", re.DOTALL)


def configure(level: int | str | None) -> None:
    """Set up logging. `level` is from the command line; the setting LOG_LEVEL overrides it."""
    if level is None or "log_level" in settings.model_fields_set:
        level = settings.log_level
    configure_logging("worker", level, settings.log_format)
    log_unhandled()
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).addFilter(_hide_task_error)


def replace_banner(worker: Any) -> None:
    """If log lines are JSON, log the text that Celery prints to the terminal when a worker starts and stops."""
    if settings.log_format == "json":
        worker.quiet = True
        celery_terminal.safe_say = _log_banner  # type: ignore[attr-defined] # its stubs lack it
        queues = sorted(worker.app.amqp.queues.consume_from)
        logger.info("worker_started", node=worker.hostname, queues=queues, processes=worker.concurrency)


def _log_banner(text: str, *_: Any) -> None:
    logger.info("celery_message_logged", text=text.strip())


def build_log_fields(job_id: object, task: str, queue: object, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a log line that belongs to a job."""
    passed_on = {name: str(message[name]) for name in _PASSED_ON if message.get(name) is not None}
    return {"job_id": str(job_id), "task": task, "queue": queue, **passed_on}


def _hide_task_error(record: logging.LogRecord) -> bool:
    """Add the fields of the job to Celery's lines about a task, and remove the message of the task's exception.

    The ledger logs the error of the same attempt, and stores its message.
    """
    data = record.__dict__.pop("data", {})
    record.__dict__.update(job_id=data.get("id"), task=data.get("name"), **_named_arguments(data.get("kwargs")))
    if isinstance(record.args, dict) and isinstance(record.args.get("exc"), str):
        shown = _REPR.fullmatch(record.args["exc"])
        record.args = {**record.args, "exc": shown[1] if shown else "see the ledger's line"}
    return True


def _named_arguments(shown: object) -> dict[str, str]:
    """Parse the message from Celery's representation of it."""
    try:
        message = ast.literal_eval(str(shown))
        return {name: str(message[name]) for name in _PASSED_ON if name in message}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {}
