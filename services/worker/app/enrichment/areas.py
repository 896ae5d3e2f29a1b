"""Suggests at most two areas of the closed vocabulary for an issue."""

from collections.abc import Sequence

from app.enrichment.area_delta import AreaDelta, train_areas
from app.enrichment.area_lexicon import area_version, load_calibration, load_lexicon, probability
from app.enrichment.interface import Tag
from contracts.vocabulary import AreaTag

__all__ = ["MAX_AREAS", "AreaDelta", "area_version", "rank_areas", "suggest_areas", "train_areas"]

MAX_AREAS = 2
LEAST = 0.25
"""The minimum probability of the top-ranked area. Below it, wrong suggestions outnumber missed ones."""
SECOND_LEAST = 0.6
"""The minimum probability of a second area. It is higher, because most issues have one area."""
MIN_CONFIDENCE, MAX_CONFIDENCE = 0.01, 0.99
"""The bounds of the confidence, because words are never certain evidence."""


def suggest_areas(title: str, body: str, delta: AreaDelta | None = None) -> tuple[Tag, ...]:
    """Return the suggested areas for a cleaned title and the prose of a body, the most confident first.

    `delta` is the model of the issue's project.
    """
    return rank_areas(title, body, delta, tuple(AreaTag))


def rank_areas(title: str, body: str, delta: AreaDelta | None, among: Sequence[str]) -> tuple[Tag, ...]:
    """Return at most two of the areas in `among` that the text supports, the most confident first."""
    scores = load_lexicon().scores(title, body)
    calibration = load_calibration()
    if delta is None:
        # An area without any matching word is not suggested, even if it is common.
        log_odds = {area: calibration.areas[area].log_odds(score) for area, score in scores.items() if score > 0}
    else:
        log_odds = delta.log_odds(title, body, scores)
    ranked = sorted(((value, area) for area, value in log_odds.items() if area in among), reverse=True)
    tags = []
    for (value, area), least in zip(ranked[:MAX_AREAS], (LEAST, SECOND_LEAST), strict=False):
        if probability(value) >= least:
            confidence = probability(calibration.top_ranked.log_odds(value) if delta is None else value)
            tags.append(Tag(area, min(max(round(confidence, 2), MIN_CONFIDENCE), MAX_CONFIDENCE)))
    return tuple(tags)
