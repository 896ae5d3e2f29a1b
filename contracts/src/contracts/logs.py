"""One way to log for every service: structlog, and the standard library's loggers through it.

Nothing that a person wrote is in any line, at any level: exceptions are told by `contracts.faults`, libraries
that log what they carry are kept quiet, and passwords in addresses are masked.
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

_CARRY_DATA = ("httpcore", "httpcore2", "httpx", "httpx2", "openai", "sqlalchemy", "urllib3")
"""Loggers that write requests, answers and rows at DEBUG: they begin at WARNING, whatever LOG_LEVEL says."""

_PASSWORD = re.compile(r"(\w://[^\s:/@]*:)[^\s/]+@")

logger = structlog.get_logger(__name__)


def configure_logging(service: str, level: str | int, log_format: str, *, take_over: Collection[str] = ()) -> None:
    """Send every logger of this process to standard error.

    `take_over` names loggers of libraries that have set up handlers of their own, which are dropped.
    `log_format`: `json` writes one object a line, `console` coloured text, `auto` chooses by the terminal.
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
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _without_data, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in take_over:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in _CARRY_DATA:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Our own lines do not go through the standard library, which would cost more than all else that a line takes.
    structlog.configure(
        processors=[*shared, _without_data, *renderers],
        logger_factory=partial(_Writer, handler),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )


class _Writer:
    """Writes lines where a handler does, one at a time and safely across forks, as the handler's lock is."""

    def __init__(self, handler: logging.StreamHandler[Any], name: str) -> None:
        self._handler = handler
        self.name = name

    def _write(self, line: str) -> None:
        # Whatever becomes of the line, the work goes on.
        with self._handler.lock or nullcontext(), suppress(OSError, ValueError):
            self._handler.stream.write(f"{line}\n")
            self._handler.flush()

    debug = info = warning = error = critical = _write


def log_unhandled() -> None:
    """Log what ends this process, or a thread of it, or is raised where nobody can catch it."""

    def ended(_class: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        if not isinstance(error, KeyboardInterrupt):
            logger.critical("exception_unhandled", exc_info=error)

    def thread_ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            logger.error("exception_unhandled", thread=getattr(args.thread, "name", None), exc_info=args.exc_value)

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        if args.exc_value is not None:
            logger.error("exception_ignored", exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = ended, thread_ended, unraisable


def _hide_exception_messages(record: logging.LogRecord) -> bool:
    """Put what is told of them in the place of exceptions that a library wants in its text."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            safe_message(value) if isinstance(value, BaseException) else value for value in record.args
        )
    if isinstance(record.msg, BaseException):
        record.msg = safe_message(record.msg)
    return True


def _without_data(_logger: object, _method: str, event: Event) -> Event:
    """Tell exceptions by where they happened, and mask passwords."""
    event.pop("color_message", None)  # uvicorn's second copy
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["exception"] = safe_traceback(error)
    return {key: _safe(value) for key, value in event.items()}


def _safe(value: object) -> object:
    if isinstance(value, BaseException):
        return safe_message(value)
    return _PASSWORD.sub(r"\1***@", value) if isinstance(value, str) and "://" in value else value
