"""Sends traces with OpenTelemetry's SDK by OTLP over HTTP. `contracts.tracing` imports this if traces are on.

The SDK reads its own environment variables: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER,
OTEL_BSP_... and OTEL_EXPORTER_OTLP_...
"""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contracts import CONTRACT_VERSION
from contracts.tracing import Attributes, Kind

SCHEDULE_DELAY_MS = 1000
"""How long a finished span may wait, unless OTEL_BSP_SCHEDULE_DELAY is set. A killed process loses such spans."""

HIDDEN_ATTRIBUTES = ("url.query", "url.path")
"""Attributes of a request whose value the client chooses. The template of the route is enough."""

# OpenTelemetry's exporter logs each attempt. `_OutageLogger` logs only the start and the end of an outage.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

logger = structlog.get_logger(__name__)

_propagator = TraceContextTextMapPropagator()
_KINDS = {kind: trace.SpanKind[kind.name] for kind in Kind}


class _OutageLogger(SpanExporter):
    """Sends spans, and logs when an outage of the receiver starts and when it ends."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_outage = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_outage = result is not SpanExportResult.SUCCESS
        if is_outage and not self._is_outage:
            logger.warning("trace_export_failed", spans=len(spans))
        elif self._is_outage and not is_outage:
            logger.info("trace_export_resumed")
        self._is_outage = is_outage
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _AttributeFilter(SpanProcessor):
    """Removes values that a client chose from the spans of requests."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        del parent_context
        for name in HIDDEN_ATTRIBUTES:
            if name in (span.attributes or {}):
                span.set_attribute(name, "")


class Tracing:
    """The tracer of one process, and the thread that sends finished spans. `provider` is for libraries."""

    def __init__(self, service: str, endpoint: str) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME") or f"issuetracker-{service}"
        delay = None if "OTEL_BSP_SCHEDULE_DELAY" in os.environ else SCHEDULE_DELAY_MS
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        # The SDK's own atexit hook would wait 30 s if the receiver is unreachable.
        self.provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
        self.provider.add_span_processor(_AttributeFilter())
        # The queue is bounded (OTEL_BSP_MAX_QUEUE_SIZE, 2048 spans). Further spans are dropped.
        self.provider.add_span_processor(BatchSpanProcessor(_OutageLogger(exporter), schedule_delay_millis=delay))
        self._tracer = self.provider.get_tracer("issuetracker", CONTRACT_VERSION)

    def stop(self, seconds: float) -> None:
        """Send the remaining spans within `seconds` seconds."""
        # The SDK's own time limit does not apply while an export is in progress.
        flush = threading.Thread(target=self.provider.shutdown, name="traces", daemon=True)
        flush.start()
        flush.join(seconds)

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes,
        kind: Kind,
        parent: str | None,
        expected: tuple[type[BaseException], ...],
    ) -> Iterator[str | None]:
        """See `contracts.tracing.span`."""
        context = None if parent is None else _propagator.extract({"traceparent": parent}, Context())
        if not trace.get_current_span(context).get_span_context().is_valid:
            yield None
            return
        with self._tracer.start_as_current_span(
            name,
            context,
            _KINDS[kind],
            attributes,
            # The message of an exception may contain an issue's text.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield self.traceparent()
            except expected:
                raise
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise

    def annotate(self, attributes: Attributes) -> None:
        """See `contracts.tracing.annotate`."""
        trace.get_current_span().set_attributes(attributes)

    def traceparent(self) -> str | None:
        """See `contracts.tracing.traceparent`."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get("traceparent")
