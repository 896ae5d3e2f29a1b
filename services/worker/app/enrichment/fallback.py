"""The local enricher's result where a provider was to answer, and did not."""

from dataclasses import replace

import structlog

from app.enrichment.interface import Enricher, Enrichment, IssueText

logger = structlog.get_logger(__name__)

REASON_MAX = 200


def fall_back(local: Enricher, issue: IssueText, reason: str) -> Enrichment:
    """Enrich an issue on this machine; the reason goes into the log and the provenance."""
    reason = reason[:REASON_MAX]
    logger.warning("provider_bypassed", reason=reason)
    result = local.enrich(issue)
    return replace(result, provenance=replace(result.provenance, fallback=reason))
