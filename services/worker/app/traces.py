"""Traces of the worker's child processes. Tracing starts in each child, because threads do not survive a fork."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery.exceptions import Ignore
from celery.signals import worker_process_init, worker_process_shutdown
from sqlalchemy import event
from structlog.contextvars import bound_contextvars

from app.database.config import engine
from app.logs import build_log_fields
from app.settings import settings
from contracts import tracing
from contracts.messages import Message


@contextmanager
def job_context(task: str, queue: object, message: Message) -> Iterator[None]:
    """Add the fields of the job to each log line of the body, and continue the trace of the message."""
    fields = build_log_fields(message.job_id, task, queue, message.as_json())
    span = tracing.span(
        task.rpartition(".")[2],
        fields,
        kind=tracing.Kind.CONSUMER,
        parent=message.traceparent,
        expected=(Ignore,),
    )
    with span, bound_contextvars(**fields, **tracing.ids(), contract_version=message.contract_version):
        yield


@worker_process_init.connect
def _start(**_: Any) -> None:
    if tracing.start("worker", settings.otel_exporter_otlp_endpoint) is not None:
        event.listen(engine, "before_cursor_execute", _begin_statement)
        event.listen(engine, "after_cursor_execute", _end_statement)
        event.listen(engine, "handle_error", _fail_statement)


@worker_process_shutdown.connect
def _stop(**_: Any) -> None:
    tracing.stop()


def _begin_statement(
    _connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    context.span = tracing.sql(statement)
    context.span.__enter__()


def _end_statement(
    _connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    context.span.__exit__(None, None, None)


def _fail_statement(failed: Any) -> None:
    span = getattr(failed.execution_context, "span", None)
    if span is not None:
        error = failed.original_exception
        try:
            span.__exit__(type(error), error, error.__traceback__)
        except type(error):
            return  # raised again by the span, as by SQLAlchemy after this
