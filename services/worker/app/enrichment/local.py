"""The local enricher: it needs no network and no account."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.enrichment.areas import area_version, suggest_areas
from app.enrichment.classification.types import load_base
from app.enrichment.cleaning import clean_inline, paragraphs
from app.enrichment.interface import Enrichment, IssueText, Provenance, Tag
from app.enrichment.language import Language, detect_language
from app.enrichment.priority import suggest_priority
from app.enrichment.sanitize import strip_invisible
from app.enrichment.summary import PREFIX, summarise

if TYPE_CHECKING:
    from app.enrichment.area_delta import AreaDelta
    from app.enrichment.classification.types import TypeDelta

MODEL = "linear-types+lexicon"
VERSION = "4"
"""The version of the rules and of the extraction. The artefacts have their own versions."""
MAX_CONFIDENCE = 0.99
"""The maximum confidence, because no model is certain."""


@dataclass(frozen=True, slots=True)
class LearnedModels:
    """The deltas of a project. None means that the base model is used."""

    type: "TypeDelta | None" = None
    areas: "AreaDelta | None" = None
    models: tuple[str, ...] = ()
    """The ids of these models."""


class LocalEnricher:
    """Enriches an issue deterministically and offline, in a few milliseconds."""

    def __init__(self, learned: Callable[[str], LearnedModels] = lambda _project: LearnedModels()) -> None:
        """`learned` returns the deltas of a project by its name."""
        self._learned = learned

    def enrich(self, issue: IssueText) -> Enrichment:
        """Enrich one issue. Results with low confidence are omitted."""
        learned = self._learned(issue.project)
        body = paragraphs(issue.description)
        # One line per paragraph, so that a sentence does not continue into the next paragraph.
        title, prose = clean_inline(issue.title), "\n".join(paragraph.text for paragraph in body)
        language = detect_language(f"{title}. {prose}")
        return Enrichment(
            summary=_readable(summarise(issue.title, body)),
            tags=(
                *(_foreign(language) or _type(issue, learned)),
                *suggest_areas(title, prose, learned.areas),
            ),
            priority=suggest_priority(title, prose),
            language=None if language is None else language.code,
            provenance=Provenance(
                provider="local",
                model=MODEL,
                version=f"{VERSION}/{load_base().version}/{area_version()}",
                input_sha256=issue.digest(),
                learned=",".join(learned.models) or None,
            ),
        )


def _readable(summary: str) -> str:
    """Return the summary without invisible characters, which may change the order of the surrounding text."""
    text = strip_invisible(summary)
    return text if text.strip() != PREFIX.strip() else f"{PREFIX}(no readable text)"


def _foreign(language: Language | None) -> tuple[Tag, ...]:
    """Return the language tag of an issue that is not in English. The type model supports English only."""
    if language is None or language.code == "en":
        return ()
    return (Tag(f"lang:{language.code}", language.confidence),)


def _type(issue: IssueText, learned: LearnedModels) -> tuple[Tag, ...]:
    guess = load_base().predict(issue.title, issue.description, delta=learned.type)
    if guess.label is None:
        return ()
    return (Tag(guess.label.value, min(round(guess.confidence, 2), MAX_CONFIDENCE)),)
