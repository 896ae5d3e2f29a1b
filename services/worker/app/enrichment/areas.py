"""The areas of an issue: at most two of the closed vocabulary, none where the text does not speak for one."""

from collections.abc import Sequence

from app.enrichment.area_delta import AreaDelta, train_areas
from app.enrichment.area_lexicon import area_version, load_calibration, load_lexicon, probability
from app.enrichment.interface import Tag
from contracts.vocabulary import AreaTag

__all__ = ["MAX_AREAS", "AreaDelta", "area_version", "rank_areas", "suggest_areas", "train_areas"]

MAX_AREAS = 2
LEAST = 0.25
"""From this probability on the likeliest area is told: below it, more are wrong than would be missed."""
SECOND_LEAST = 0.6
"""Most issues have one area: a second one must be likely by itself."""
MIN_CONFIDENCE, MAX_CONFIDENCE = 0.01, 0.99
"""Words never make sure."""


def suggest_areas(title: str, body: str, delta: AreaDelta | None = None) -> tuple[Tag, ...]:
    """Return the areas that a cleaned title and the prose of a body speak for, the surest first.

    `delta` is what the issue's project has learned from the areas that its people confirmed.
    """
    return rank_areas(title, body, delta, tuple(AreaTag))


def rank_areas(title: str, body: str, delta: AreaDelta | None, among: Sequence[str]) -> tuple[Tag, ...]:
    """Return at most two of the areas `among` which the text speaks for one, the surest first."""
    scores = load_lexicon().scores(title, body)
    calibration = load_calibration()
    if delta is None:
        # Without a word that speaks for it an area is not told, however common it may be.
        log_odds = {area: calibration.areas[area].log_odds(score) for area, score in scores.items() if score > 0}
    else:
        log_odds = delta.log_odds(title, body, scores)
    ranked = sorted(((value, area) for area, value in log_odds.items() if area in among), reverse=True)
    tags = []
    for (value, area), least in zip(ranked[:MAX_AREAS], (LEAST, SECOND_LEAST), strict=False):
        if probability(value) >= least:
            sure = probability(calibration.told.log_odds(value) if delta is None else value)
            tags.append(Tag(area, min(max(round(sure, 2), MIN_CONFIDENCE), MAX_CONFIDENCE)))
    return tuple(tags)
