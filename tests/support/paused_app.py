"""The worker's application with an enricher that has read the text and goes on once HOLD_FILE is gone."""

import os
import time
from pathlib import Path

from app.celery_app import app
from app.enrichment import selection
from app.enrichment.interface import Enrichment, IssueText
from tests.support.latch import reached_file

__all__ = ["app"]


class PausedEnricher:
    """Enriches as the local one does, when the test lets it."""

    def enrich(self, issue: IssueText) -> Enrichment:
        latch = Path(os.environ["HOLD_FILE"])
        reached_file(latch).touch()
        while latch.exists():
            time.sleep(0.02)
        return selection.local.enrich(issue)


selection.enricher = PausedEnricher()
