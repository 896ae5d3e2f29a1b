"""Metrics of provider requests. The model label is the configured name, never a name from a response."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from app.metrics.storage import counter, histogram

OUTCOMES = ("ok", "unavailable", "no_answer", "rejected", "too_long", "invalid_response", "error")
"""`error` is any other failure."""
LATENCIES = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)

_LABELS = ["provider", "model"]
REQUESTS = counter("provider_requests_total", "Requests to providers.", [*_LABELS, "outcome"])
SECONDS = histogram("provider_request_seconds", "Duration of a request.", _LABELS, buckets=LATENCIES)
TOKENS = counter("provider_tokens_total", "Used tokens.", [*_LABELS, "direction"])
COST = counter("provider_cost_dollars_total", "Cost at the configured prices.", _LABELS)


class ProviderMetrics:
    """The metrics of one provider and its configured model."""

    def __init__(self, provider: str, model: str) -> None:
        self._requests = {outcome: REQUESTS.labels(provider, model, outcome) for outcome in OUTCOMES}
        self._seconds = SECONDS.labels(provider, model)
        self._input = TOKENS.labels(provider, model, "input")
        self._output = TOKENS.labels(provider, model, "output")
        self._cost = COST.labels(provider, model)

    @contextmanager
    def record_request(self, outcomes: Mapping[type[Exception], str] | None = None) -> Iterator[None]:
        """Time a request and count it by outcome. `outcomes` maps classes of errors; the first match counts."""
        started, outcome = perf_counter(), "ok"
        try:
            yield
        except BaseException as error:
            outcome = next((word for kind, word in (outcomes or {}).items() if isinstance(error, kind)), "error")
            raise
        finally:
            self._requests[outcome].inc()
            self._seconds.observe(perf_counter() - started)

    def record_usage(self, input_tokens: int | None, output_tokens: int | None, cost: float | None) -> None:
        """Count the usage that a response reports; None means unknown."""
        self._input.inc(input_tokens or 0)
        self._output.inc(output_tokens or 0)
        self._cost.inc(cost or 0)
