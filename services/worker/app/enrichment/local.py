"""The enricher that needs nothing but the text: extraction and a lexicon, on this machine."""

from app.enrichment.cleaning import clean_inline, paragraphs
from app.enrichment.interface import Enrichment, IssueText, Provenance
from app.enrichment.summary import summarise
from app.enrichment.tagging import tag_text

VERSION = "1"


class LocalEnricher:
    """Deterministic, offline, a few milliseconds an issue."""

    def enrich(self, issue: IssueText) -> Enrichment:
        """Return the summary and tags that the text itself supports."""
        body = paragraphs(issue.description)
        return Enrichment(
            summary=summarise(issue.title, body),
            tags=tag_text(clean_inline(issue.title), " ".join(paragraph.text for paragraph in body)),
            provenance=Provenance("local", "extract-lexicon", VERSION, issue.digest()),
        )
