"""The worker application with a slow enricher, mounted into the containers of the end-to-end test.

An issue titled "Takes 20 s" takes 20 seconds. Any other takes 50 ms, so that faults hit running jobs.
"""

import re
import time
from typing import Any

from app.celery_app import app
from app.enrichment import selection

__all__ = ["app"]


class SlowEnricher:
    """Enriches as the product does, after a delay."""

    def __init__(self, enricher: Any) -> None:
        self._enricher = enricher

    def enrich(self, issue: Any) -> Any:
        match = re.fullmatch(r"Takes (\d+) s", issue.title)
        time.sleep(int(match[1]) if match else 0.05)
        return self._enricher.enrich(issue)


selection.enricher = SlowEnricher(selection.enricher)
