"""How much an issue's words speak for each area, by the lexicon that people edit (`areas.toml`).

A calibration, learned across projects, makes log odds of the sums of weights.
"""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import NamedTuple

TITLE_WEIGHT = 3.0
"""A word of the title counts as much as three that open the body."""
HALVING_WORDS = 50
"""The body's words count 1 / sqrt(1 + position / this): what an issue is about stands at its beginning."""
READ_CHARACTERS = 6_000

_LEXICON = files("app.enrichment") / "areas.toml"
_CALIBRATION = files("app.enrichment") / "data" / "areas-base.json"

_WORD = re.compile(r"[^\W_]+")
_STEM = 3
"""Terms that end in * are looked up by so many of their letters."""

Weights = dict[str, float]
"""Weight by area."""


@dataclass(frozen=True, slots=True)
class AreaLexicon:
    """The terms with their weights, arranged for looking up word after word."""

    areas: tuple[str, ...]
    words: dict[str, Weights] = field(default_factory=dict)
    beginnings: dict[str, list[tuple[str, Weights]]] = field(default_factory=dict)
    """Beginnings of words, by their first letters."""
    phrases: dict[str, list[tuple[tuple[str, ...], Weights]]] = field(default_factory=dict)
    """Terms of several words, by the first of them."""

    @classmethod
    def parse(cls, text: str) -> "AreaLexicon":
        """Read the TOML; raise ValueError where a term is listed twice for an area, or cannot be matched."""
        document: dict[str, dict[str, list[str]]] = tomllib.loads(text)
        terms: dict[str, Weights] = {}
        for area, groups in document.items():
            for weight, listed in groups.items():
                for term in listed:
                    if terms.setdefault(term, {}).setdefault(area, float(weight)) != float(weight):
                        raise ValueError(f"{area}: {term} has two weights")
        lexicon = cls(tuple(document))
        for term, weights in terms.items():
            lexicon._add(term, weights)
        return lexicon

    def _add(self, term: str, weights: Weights) -> None:
        first, *rest = term.split(" ")
        if rest:
            self.phrases.setdefault(first, []).append((tuple(rest), weights))
        elif not term.endswith("*"):
            self.words[term] = weights
        elif len(term) > _STEM:
            self.beginnings.setdefault(term[:_STEM], []).append((term[:-1], weights))
        else:
            raise ValueError(f"{term} is too short")

    def scores(self, title: str, body: str) -> Weights:
        """Return the sum of the weights of the terms in the text, for each area; 0 where there are none."""
        # A term is recognised by its weights: there is one such dictionary for each.
        found: dict[int, tuple[float, Weights]] = {}
        for _, weights in self._matches(title[:READ_CHARACTERS]):
            found.setdefault(id(weights), (TITLE_WEIGHT, weights))
        for position, weights in self._matches(body[:READ_CHARACTERS]):
            if id(weights) not in found:
                found[id(weights)] = (1 / math.sqrt(1 + position / HALVING_WORDS), weights)
        sums = dict.fromkeys(self.areas, 0.0)
        for place, weights in found.values():
            for area, weight in weights.items():
                sums[area] += place * weight
        return sums

    def _matches(self, text: str) -> Iterator[tuple[int, Weights]]:
        """Yield the position and the weights of each term in the text, in order."""
        found = _WORD.findall(text.lower())
        for position, word in enumerate(found):
            if word in self.words:
                yield position, self.words[word]
            for beginning, weights in self.beginnings.get(word[:_STEM], ()):
                if word.startswith(beginning):
                    yield position, weights
            for rest, weights in self.phrases.get(word, ()):
                if _follows(rest, found[position + 1 : position + 1 + len(rest)]):
                    yield position, weights


def _follows(rest: tuple[str, ...], found: list[str]) -> bool:
    """Tell whether the words are those of the phrase; its last one may end in *."""
    *middle, last = rest
    if len(found) < len(rest) or found[:-1] != middle:
        return False
    return found[-1].startswith(last[:-1]) if last.endswith("*") else found[-1] == last


class Curve(NamedTuple):
    """A logistic curve: what a number says about the odds of something."""

    slope: float
    bias: float

    def log_odds(self, value: float) -> float:
        """Return the log odds at a value."""
        return self.slope * value + self.bias


@dataclass(frozen=True, slots=True)
class Calibration:
    """How sure the lexicon makes."""

    areas: dict[str, Curve]
    """From an area's score to whether a person would set the area, each area by itself."""
    told: Curve
    """From these log odds to whether an area that was told, before all others, is right."""


@cache
def load_lexicon() -> AreaLexicon:
    """Read `areas.toml`, which lies beside this module for people to edit."""
    return AreaLexicon.parse(_LEXICON.read_text(encoding="utf-8"))


@cache
def load_calibration() -> Calibration:
    """Read what `evaluation/train_areas.py` learned."""
    document = json.loads(_CALIBRATION.read_text(encoding="utf-8"))
    areas = {area: Curve(**numbers) for area, numbers in document["areas"].items()}
    return Calibration(areas, Curve(**document["told"]))


@cache
def area_version() -> str:
    """Return a fingerprint of lexicon and calibration: a delta holds only for those it was trained on."""
    return hashlib.sha256(_LEXICON.read_bytes() + _CALIBRATION.read_bytes()).hexdigest()[:12]


def probability(log_odds: float) -> float:
    """Return the probability of log odds, however large they are."""
    return 0.5 * (1 + math.tanh(log_odds / 2))
