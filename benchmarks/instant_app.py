"""The worker's application with an enricher that takes WORK_S seconds (0): everything else is the product's own.

`celery -A benchmarks.instant_app worker`, in services/worker.
"""

import os
import time

from app.celery_app import app
from app.enrichment import selection
from app.enrichment.interface import Enrichment, IssueText, Provenance, Tag

__all__ = ["app"]

WORK_S = float(os.environ.get("WORK_S", "0"))


class InstantEnricher:
    """Return the same tag for every issue."""

    def enrich(self, issue: IssueText) -> Enrichment:
        """Return a summary and a tag."""
        time.sleep(WORK_S)
        return Enrichment(
            summary=f"AI Summary: {issue.title}",
            tags=(Tag("bug", 0.9),),
            provenance=Provenance("local", "instant", "1", issue.digest()),
        )


selection.enricher = InstantEnricher()
