"""An enricher whose calls are counted and timed."""

from app.enrichment.interface import Enricher, Enrichment, IssueText
from app.metrics.providers import ProviderMetrics


class MeasuredEnricher:
    """Enriches as the one that it holds."""

    def __init__(self, enricher: Enricher, metrics: ProviderMetrics) -> None:
        self._enricher = enricher
        self._metrics = metrics

    def enrich(self, issue: IssueText) -> Enrichment:
        """Enrich one issue."""
        with self._metrics.record_request():
            return self._enricher.enrich(issue)
