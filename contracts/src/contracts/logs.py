"""One way to log for every service: structlog, and the standard library's loggers through it."""

import logging
import sys
from collections.abc import Collection
from typing import Any

import structlog

from contracts import CONTRACT_VERSION


def configure_logging(service: str, level: str | int, log_format: str, *, take_over: Collection[str] = ()) -> None:
    """Send every logger of this process to standard error.

    `take_over` names loggers of libraries that have set up handlers of their own, which are dropped.
    `log_format`: `json` writes one object a line, `console` coloured text, `auto` chooses by the terminal.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())

    def add_origin(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "service": service, "contract_version": CONTRACT_VERSION}

    def drop_coloured_copy(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in event.items() if key != "color_message"}  # uvicorn's

    # Local variables hold issue texts and passwords.
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        drop_coloured_copy,
    ]
    renderers: list[Any] = (
        [add_origin, tracebacks, structlog.processors.JSONRenderer()]
        if as_json
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in take_over:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
