"""An enricher that records metrics."""

from app.enrichment.interface import Enricher, Enrichment, IssueText
from app.metrics.providers import ProviderMetrics


class MeasuredEnricher:
    """Wraps an enricher, and counts and times its calls."""

    def __init__(self, enricher: Enricher, metrics: ProviderMetrics) -> None:
        self._enricher = enricher
        self._metrics = metrics

    def enrich(self, issue: IssueText) -> Enrichment:
        """Enrich one issue."""
        with self._metrics.record_request():
            return self._enricher.enrich(issue)
