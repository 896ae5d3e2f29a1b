"""The worker's log lines: Celery's own through structlog, with what they belong to and without what tasks say."""

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
    """Set up logging; `level` is the command line's, which a LOG_LEVEL that is set comes before."""
    if level is None or "log_level" in settings.model_fields_set:
        level = settings.log_level
    configure_logging("worker", level, settings.log_format)
    log_unhandled()
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).addFilter(_hide_task_error)


def replace_banner(worker: Any) -> None:
    """Log what Celery writes to the terminal as a worker starts and stops, where each line has to be an object."""
    if settings.log_format == "json":
        worker.quiet = True
        celery_terminal.safe_say = _log_banner  # type: ignore[attr-defined] # its stubs lack it
        queues = sorted(worker.app.amqp.queues.consume_from)
        logger.info("worker_started", node=worker.hostname, queues=queues, processes=worker.concurrency)


def _log_banner(text: str, *_: Any) -> None:
    logger.info("celery_message_logged", text=text.strip())


def job_log_fields(job_id: object, task: str, queue: object, message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a log line that belongs to a job."""
    passed_on = {name: str(message[name]) for name in _PASSED_ON if message.get(name) is not None}
    return {"job_id": str(job_id), "task": task, "queue": queue, **passed_on}


def _hide_task_error(record: logging.LogRecord) -> bool:
    """Give Celery's lines about a task its job's fields, and take out what the task raised.

    The ledger's line for the same attempt tells the error; its message is in the ledger itself.
    """
    data = record.__dict__.pop("data", {})
    record.__dict__.update(job_id=data.get("id"), task=data.get("name"), **_named_arguments(data.get("kwargs")))
    if isinstance(record.args, dict) and isinstance(record.args.get("exc"), str):
        shown = _REPR.fullmatch(record.args["exc"])
        record.args = {**record.args, "exc": shown[1] if shown else "told by the ledger"}
    return True


def _named_arguments(shown: object) -> dict[str, str]:
    """Read the message back from what Celery shows of it."""
    try:
        message = ast.literal_eval(str(shown))
        return {name: str(message[name]) for name in _PASSED_ON if name in message}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {}
