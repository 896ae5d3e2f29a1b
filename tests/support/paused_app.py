"""The worker application with an enricher that waits, after reading the text, while HOLD_FILE exists."""

import os
import time
from pathlib import Path

from app.celery_app import app
from app.enrichment import selection
from app.enrichment.interface import Enrichment, IssueText
from tests.support.latch import reached_file

__all__ = ["app"]


def wait_for_release() -> None:
    """Wait while the test holds the latch."""
    latch = Path(os.environ["HOLD_FILE"])
    reached_file(latch).touch()
    while latch.exists():
        time.sleep(0.02)


class PausedEnricher:
    """Enriches as the local enricher does, after the test releases the latch."""

    def enrich(self, issue: IssueText) -> Enrichment:
        wait_for_release()
        return selection.local.enrich(issue)


selection.enricher = PausedEnricher()
