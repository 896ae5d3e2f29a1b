"""The worker application with a slow enricher, so that faults hit running jobs."""

import random
import time

from app.celery_app import app
from app.enrichment import selection
from app.enrichment.interface import Enrichment, IssueText

__all__ = ["app"]


class SlowEnricher:
    """Enriches as the local enricher does, after 50 to 250 ms."""

    def __init__(self) -> None:
        self._enricher = selection.local

    def enrich(self, issue: IssueText) -> Enrichment:
        time.sleep(random.uniform(0.05, 0.25))
        return self._enricher.enrich(issue)


selection.enricher = SlowEnricher()
