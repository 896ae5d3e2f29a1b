"""Which enricher works: the one that the settings name."""

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
"""The service outside that enriching depends on; its failures open a circuit."""


def select(chosen: WorkerSettings, local: Enricher) -> Enricher:
    """Return the configured enricher."""
    if chosen.ai_provider == "local":
        return local
    # The library costs a second and 50 MB, which a worker that asks nobody need not pay.
    from app.enrichment.remote.provider import OpenAIEnricher  # noqa: PLC0415

    return OpenAIEnricher.configured(chosen, local)


local: Enricher = MeasuredEnricher(LocalEnricher(ProjectModels(autocommit).of), ProviderMetrics("local", MODEL))
enricher: Enricher = select(settings, local)


def without_provider(issue: IssueText, error: Exception) -> Enrichment:
    """Enrich an issue whose provider failed on its last attempt: late and local is better than never."""
    return fall_back(
        local, issue, f"gave up: {error if isinstance(error, ProviderError) else safe_message(error)}"
    )
