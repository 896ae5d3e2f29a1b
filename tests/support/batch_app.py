"""The worker application with an enricher that does what the first word of the description names."""

import os

from app.enrichment import selection
from app.enrichment.interface import Enrichment, IssueText
from app.ledger.batch_size import BatchSize
from tests.support.paused_app import app, wait_for_release

__all__ = ["app"]


class ScriptedEnricher:
    """Fails, kills its process, or waits for the latch; otherwise enriches as the local enricher does."""

    def enrich(self, issue: IssueText) -> Enrichment:
        match issue.description.partition(" ")[0]:
            case "bug":
                raise ZeroDivisionError("unexpected input")
            case "exit":
                os._exit(9)
            case "hold":
                wait_for_release()
        return selection.local.enrich(issue)


selection.enricher = ScriptedEnricher()
# All jobs of a test fit into one batch, however slow the machine is.
BatchSize.slice_s = 60
