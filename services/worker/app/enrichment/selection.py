"""Selects the configured enricher."""

from app.database.config import autocommit
from app.enrichment.fallback import fall_back
from app.enrichment.interface import Enricher, Enrichment, IssueText
from app.enrichment.local import MODEL, LocalEnricher
from app.enrichment.measured import MeasuredEnricher
from app.learning.serving import ProjectModels
from app.ledger.errors import ProviderError
from app.metrics.providers import ProviderMetrics
from app.settings import WorkerSettings, settings
from contracts.faults import safe_message

PROVIDER: str | None = None if settings.ai_provider == "local" else settings.ai_provider
"""The external provider, or None. Its failures open a circuit breaker."""


def select(chosen: WorkerSettings, local: Enricher) -> Enricher:
    """Return the configured enricher."""
    if chosen.ai_provider == "local":
        return local
    # Imported here because the library costs a second and 50 MB, which a local enricher does not need.
    from app.enrichment.remote.provider import OpenAIEnricher  # noqa: PLC0415

    return OpenAIEnricher.configured(chosen, local)


local: Enricher = MeasuredEnricher(LocalEnricher(ProjectModels(autocommit).of), ProviderMetrics("local", MODEL))
enricher: Enricher = select(settings, local)


def enrich_without_provider(issue: IssueText, error: Exception) -> Enrichment:
    """Enrich an issue locally after the provider failed on the last attempt."""
    return fall_back(
        local, issue, f"last attempt failed: {error if isinstance(error, ProviderError) else safe_message(error)}"
    )
