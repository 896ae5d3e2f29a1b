"""Tracing functions for all services. Traces are off unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

The functions do nothing if traces are off, and OpenTelemetry is then not imported. `contracts.otel` contains the
implementation.
"""

import re
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contracts.otel import Tracing

FLUSH_S = 5.0
"""How long an ending process waits until its last spans are sent."""

Attributes = Mapping[str, str | int | float]

_SDK = "opentelemetry.sdk.metrics"

_tracing: "Tracing | None" = None


def block_otel_metrics_sdk() -> None:
    """Stop redis-py from importing OpenTelemetry's metrics SDK, which we do not use: it takes 14 MB per process.

    redis-py imports the SDK if it is installed. Call this function before you import redis-py.
    """
    if _SDK not in sys.modules:
        sys.modules[_SDK] = None  # type: ignore[assignment] # None makes an import of the module fail


class Kind(StrEnum):
    """The span kinds of OpenTelemetry."""

    INTERNAL = "internal"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


def start(service: str, endpoint: str | None) -> "Tracing | None":
    """Start to send spans to the endpoint, the base URL of an OTLP/HTTP receiver. Do nothing if it is None.

    In a process that forks, call this in each child, because threads do not survive a fork.
    """
    global _tracing  # noqa: PLW0603 - one tracer per process
    if endpoint is not None and _tracing is None:
        if sys.modules.get(_SDK, _SDK) is None:
            del sys.modules[_SDK]
        # Imported here because it costs 19 MB and 0.3 s of CPU, which a process without traces need not pay.
        from contracts.otel import Tracing  # noqa: PLC0415

        _tracing = Tracing(service, endpoint)
    return _tracing


def stop() -> None:
    """Send the remaining spans within FLUSH_S seconds, and stop tracing."""
    global _tracing  # noqa: PLW0603
    if _tracing is not None:
        _tracing.stop(FLUSH_S)
        _tracing = None


def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: Kind = Kind.INTERNAL,
    parent: str | None = None,
    expected: tuple[type[BaseException], ...] = (),
) -> AbstractContextManager[str | None]:
    """Run the body in a span below `parent` (a traceparent), or below the current span if `parent` is None.

    The context manager returns the traceparent of the span. Without a parent no span is created, so that
    periodic work such as polling creates no traces. Attributes contain ids, names and numbers, never an issue's
    text. An exception marks the span as failed unless its class is in `expected`.
    """
    if _tracing is None:
        return nullcontext()
    return _tracing.span(name, attributes or {}, kind, parent, expected)


def sql(statement: str) -> AbstractContextManager[str | None]:
    """Run the body in the span of an SQL statement."""
    if _tracing is None:
        return nullcontext()
    summary = _summary(statement)
    return span(summary, {"db.system.name": "postgresql", "db.query.summary": summary}, kind=Kind.CLIENT)


def annotate(attributes: Attributes) -> None:
    """Add attributes to the current span."""
    if _tracing is not None:
        _tracing.annotate(attributes)


def traceparent() -> str | None:
    """Return the traceparent of the current span, or None if there is no span."""
    return None if _tracing is None else _tracing.traceparent()


def ids() -> dict[str, str]:
    """Return the id of the current trace, as a field for log lines."""
    current = traceparent()
    return {} if current is None else {"trace_id": current.split("-")[1]}


_TABLE = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM|FROM)\s+([a-z_]+)")


@lru_cache(maxsize=512)
def _summary(statement: str) -> str:
    """Return a statement's operation and table, such as `INSERT issue`: OpenTelemetry's name for the span."""
    found = _TABLE.search(statement)
    if found is None:
        return statement.split(maxsplit=1)[0].upper()
    verb = found[1].split()[0]
    return f"{'SELECT' if verb == 'FROM' else verb} {found[2]}"
