"""Replaces a failed provider by the local enricher."""

from dataclasses import replace

import structlog

from app.enrichment.interface import Enricher, Enrichment, IssueText

logger = structlog.get_logger(__name__)

REASON_MAX = 200


def fall_back(local: Enricher, issue: IssueText, reason: str) -> Enrichment:
    """Enrich an issue locally. The reason goes to the log and the provenance."""
    reason = reason[:REASON_MAX]
    logger.warning("provider_bypassed", reason=reason)
    result = local.enrich(issue)
    return replace(result, provenance=replace(result.provenance, fallback=reason))
