"""The enricher that needs nothing but the text and what this machine has learned: no network, no account."""

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
"""Of the rules and of what is extracted; the artefacts have versions of their own."""
MAX_CONFIDENCE = 0.99
"""No model is ever sure."""


@dataclass(frozen=True, slots=True)
class LearnedModels:
    """What a project's people have taught; None where the shipped models answer."""

    type: "TypeDelta | None" = None
    areas: "AreaDelta | None" = None
    models: tuple[str, ...] = ()
    """The ids of the models that these are."""


class LocalEnricher:
    """Deterministic, offline, a few milliseconds an issue."""

    def __init__(self, learned: Callable[[str], LearnedModels] = lambda _project: LearnedModels()) -> None:
        """`learned` gives what was learned of a project by its name."""
        self._learned = learned

    def enrich(self, issue: IssueText) -> Enrichment:
        """Return what the text supports, and nothing where it does not."""
        learned = self._learned(issue.project)
        body = paragraphs(issue.description)
        # A line each: a sentence of one paragraph must not run on into the next.
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
    """Return the summary without invisible characters, which may turn the order of what stands around them."""
    text = strip_invisible(summary)
    return text if text.strip() != PREFIX.strip() else f"{PREFIX}(nothing that can be read)"


def _foreign(language: Language | None) -> tuple[Tag, ...]:
    """Return the tag that says which language it is; the type model has only ever read English."""
    if language is None or language.code == "en":
        return ()
    return (Tag(f"lang:{language.code}", language.confidence),)


def _type(issue: IssueText, learned: LearnedModels) -> tuple[Tag, ...]:
    guess = load_base().predict(issue.title, issue.description, delta=learned.type)
    if guess.label is None:
        return ()
    return (Tag(guess.label.value, min(round(guess.confidence, 2), MAX_CONFIDENCE)),)
