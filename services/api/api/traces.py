"""How FastAPI's own instrumentation makes the span of a request."""

from typing import TYPE_CHECKING

from fastapi.telemetry import TelemetryConfig

from api.request_log import PROBES

if TYPE_CHECKING:
    from contracts.otel import Tracing


def telemetry(traces: "Tracing | None") -> TelemetryConfig:
    """Return FastAPI's settings: one span a request, below the client's where it sends a `traceparent`.

    Its logs would quote exceptions, and Prometheus has the metrics.
    """
    return TelemetryConfig(
        tracer_provider=None if traces is None else traces.provider,
        tracing=traces is not None,
        metrics=False,
        logs=False,
        operation_spans=False,
        auto_configure=False,
        exclude=lambda scope: scope["path"] in PROBES,
    )
