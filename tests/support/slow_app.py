"""The worker's application with an enricher that takes its time, so that faults hit work under way."""

import random
import time

from app.celery_app import app
from app.enrichment import selection
from app.enrichment.interface import Enrichment, IssueText

__all__ = ["app"]


class SlowEnricher:
    """Enriches as the local one does, after 50 to 250 ms."""

    def __init__(self) -> None:
        self._enricher = selection.local

    def enrich(self, issue: IssueText) -> Enrichment:
        time.sleep(random.uniform(0.05, 0.25))
        return self._enricher.enrich(issue)


selection.enricher = SlowEnricher()
