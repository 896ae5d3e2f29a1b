"""Settings of FastAPI's own instrumentation, which creates the span of a request."""

from typing import TYPE_CHECKING

from fastapi.telemetry import TelemetryConfig

from api.request_log import PROBES

if TYPE_CHECKING:
    from contracts.otel import Tracing


def telemetry(traces: "Tracing | None") -> TelemetryConfig:
    """Return FastAPI's settings: one span per request, as a child of the client's span in `traceparent`.

    Its logs are off because they quote exceptions; its metrics are off because Prometheus has them.
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
