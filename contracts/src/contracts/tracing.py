"""Traces: off, and nothing of OpenTelemetry imported for them, unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

The services call these functions everywhere and need not know whether traces are on; `contracts.otel` does it.
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
"""How long a process that ends waits for its last spans to be sent."""

Attributes = Mapping[str, str | int | float]

_SDK = "opentelemetry.sdk.metrics"

_tracing: "Tracing | None" = None


def block_otel_metrics_sdk() -> None:
    """Keep redis-py from importing OpenTelemetry's SDK, for metrics that nobody asks it for: 14 MB a process.

    It does so wherever the SDK is installed; call this before it is imported.
    """
    if _SDK not in sys.modules:
        sys.modules[_SDK] = None  # type: ignore[assignment] # how Python is told that a module is not there


class Kind(StrEnum):
    """What a span is of, in OpenTelemetry's words."""

    INTERNAL = "internal"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


def start(service: str, endpoint: str | None) -> "Tracing | None":
    """Begin to send spans to the endpoint (the base URL of an OTLP/HTTP receiver); do nothing without one.

    In a process that forks, call it in each child: threads do not survive a fork.
    """
    global _tracing  # noqa: PLW0603 - one tracer a process, as there is one logger
    if endpoint is not None and _tracing is None:
        if sys.modules.get(_SDK, _SDK) is None:
            del sys.modules[_SDK]
        # Here, since it takes 19 MB and 0.3 s of CPU that a process without traces need not pay.
        from contracts.otel import Tracing  # noqa: PLC0415

        _tracing = Tracing(service, endpoint)
    return _tracing


def stop() -> None:
    """Send what is left, for at most FLUSH_S, and end."""
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
    """Make the body a span: below `parent` (a traceparent), or else below the current one.

    The body gets the span's own traceparent. Without a parent there is no span: what comes again and again by
    itself, such as a poll, is no trace. Attributes hold ids, names and numbers; no text of an issue. An exception
    marks the span as failed, unless it is one of the `expected`.
    """
    if _tracing is None:
        return nullcontext()
    return _tracing.span(name, attributes or {}, kind, parent, expected)


def sql(statement: str) -> AbstractContextManager[str | None]:
    """Make the body the span of a statement."""
    if _tracing is None:
        return nullcontext()
    summary = _summary(statement)
    return span(summary, {"db.system.name": "postgresql", "db.query.summary": summary}, kind=Kind.CLIENT)


def annotate(attributes: Attributes) -> None:
    """Add attributes to the current span."""
    if _tracing is not None:
        _tracing.annotate(attributes)


def traceparent() -> str | None:
    """Return the current span's place in its trace, for whoever continues it; None where there is none."""
    return None if _tracing is None else _tracing.traceparent()


def ids() -> dict[str, str]:
    """Return the current trace's id, for log lines."""
    current = traceparent()
    return {} if current is None else {"trace_id": current.split("-")[1]}


_TABLE = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM|FROM)\s+([a-z_]+)")


@lru_cache(maxsize=512)
def _summary(statement: str) -> str:
    """Return what a statement does and to what, such as `INSERT issue`, as OpenTelemetry names such spans."""
    found = _TABLE.search(statement)
    if found is None:
        return statement.split(maxsplit=1)[0].upper()
    verb = found[1].split()[0]
    return f"{'SELECT' if verb == 'FROM' else verb} {found[2]}"
