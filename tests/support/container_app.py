"""The worker's application, whose enricher takes its time, mounted into the containers of the end-to-end test.

An issue titled "Takes 20 s" takes 20 seconds; any other takes 50 ms, so that faults hit work under way.
"""

import re
import time
from typing import Any

from app.celery_app import app
from app.enrichment import selection

__all__ = ["app"]


class SlowEnricher:
    """Enriches as the product does, later."""

    def __init__(self, enricher: Any) -> None:
        self._enricher = enricher

    def enrich(self, issue: Any) -> Any:
        asked = re.fullmatch(r"Takes (\d+) s", issue.title)
        time.sleep(int(asked[1]) if asked else 0.05)
        return self._enricher.enrich(issue)


selection.enricher = SlowEnricher(selection.enricher)
