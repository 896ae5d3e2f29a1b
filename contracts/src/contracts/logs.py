"""Configures logging for every service: structlog, and the standard library's loggers through it.

No line contains user data, at any level. `contracts.faults` formats exceptions, libraries that log payloads are
limited to warnings, and passwords in URLs are masked.
"""

import logging
import re
import sys
import threading
from collections.abc import Collection, MutableMapping
from contextlib import nullcontext, suppress
from functools import partial
from types import TracebackType
from typing import Any

import structlog

from contracts import CONTRACT_VERSION
from contracts.faults import safe_message, safe_traceback

Event = MutableMapping[str, Any]

_DATA_LOGGERS = ("httpcore", "httpcore2", "httpx", "httpx2", "openai", "sqlalchemy", "urllib3")
"""Loggers that write requests, responses and rows at DEBUG. Their level is WARNING, regardless of LOG_LEVEL."""

_PASSWORD = re.compile(r"(\w://[^\s:/@]*:)[^\s/]+@")

logger = structlog.get_logger(__name__)


def configure_logging(service: str, level: str | int, log_format: str, *, take_over: Collection[str] = ()) -> None:
    """Send every logger of this process to standard error.

    `take_over` names loggers of libraries that install their own handlers. These handlers are removed.
    `log_format` is `json` (one object per line), `console` (coloured text) or `auto` (`console` on a terminal).
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())

    def add_origin(_logger: object, _method: str, event: Event) -> Event:
        return {"service": service, "contract_version": CONTRACT_VERSION, **event}

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[Any] = (
        [add_origin, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_hide_exception_messages)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _remove_data, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in take_over:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in _DATA_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Our own lines bypass the standard library, which would cost more than the rest of the line's processing.
    structlog.configure(
        processors=[*shared, _remove_data, *renderers],
        logger_factory=partial(_Writer, handler),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )


class _Writer:
    """Writes lines to a handler's stream under the handler's lock, which is safe across threads and forks."""

    def __init__(self, handler: logging.StreamHandler[Any], name: str) -> None:
        self._handler = handler
        self.name = name

    def _write(self, line: str) -> None:
        # A log line that cannot be written must not stop the work.
        with self._handler.lock or nullcontext(), suppress(OSError, ValueError):
            self._handler.stream.write(f"{line}\n")
            self._handler.flush()

    debug = info = warning = error = critical = _write


def log_unhandled() -> None:
    """Log exceptions that end this process or one of its threads, and exceptions that cannot be caught."""

    def log_exception(_class: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        if not isinstance(error, KeyboardInterrupt):
            logger.critical("exception_unhandled", exc_info=error)

    def log_thread_exception(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            logger.error("exception_unhandled", thread=getattr(args.thread, "name", None), exc_info=args.exc_value)

    def log_unraisable(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            logger.error("exception_ignored", exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = (
        log_exception,
        log_thread_exception,
        log_unraisable,
    )


def _hide_exception_messages(record: logging.LogRecord) -> bool:
    """Replace exceptions in a library's log message with their safe messages."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            safe_message(value) if isinstance(value, BaseException) else value for value in record.args
        )
    if isinstance(record.msg, BaseException):
        record.msg = safe_message(record.msg)
    return True


def _remove_data(_logger: object, _method: str, event: Event) -> Event:
    """Replace exceptions with their safe tracebacks, and mask passwords."""
    event.pop("color_message", None)  # uvicorn's second copy
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = safe_traceback(error)
    return {key: _make_safe(value) for key, value in event.items()}


def _make_safe(value: object) -> object:
    if isinstance(value, BaseException):
        return safe_message(value)
    return _PASSWORD.sub(r"\1***@", value) if isinstance(value, str) and "://" in value else value
