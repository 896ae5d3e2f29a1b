"""Scores each area by the words of an issue, with a lexicon that people can edit (`areas.toml`).

A calibration, trained on several projects, converts the sums of weights to log odds.
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
"""The weight of a word in the title. The first word of the body has the weight 1."""
HALVING_WORDS = 50
"""The weight of a word in the body is 1 / sqrt(1 + position / this), because the topic comes at the beginning."""
READ_CHARACTERS = 6_000

_LEXICON = files("app.enrichment") / "areas.toml"
_CALIBRATION = files("app.enrichment") / "data" / "areas-base.json"

_WORD = re.compile(r"[^\W_]+")
_STEM = 3
"""The number of letters by which terms that end in * are looked up."""

Weights = dict[str, float]
"""Weight by area."""


@dataclass(frozen=True, slots=True)
class AreaLexicon:
    """The terms with their weights, indexed for lookup by word."""

    areas: tuple[str, ...]
    words: dict[str, Weights] = field(default_factory=dict)
    beginnings: dict[str, list[tuple[str, Weights]]] = field(default_factory=dict)
    """Terms that end in *, by their first letters."""
    phrases: dict[str, list[tuple[tuple[str, ...], Weights]]] = field(default_factory=dict)
    """Terms of several words, by their first word."""

    @classmethod
    def parse(cls, text: str) -> "AreaLexicon":
        """Parse the TOML; raise ValueError if a term is listed twice for an area, or cannot be matched."""
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
            raise ValueError(f'"{term}" is too short: it needs {_STEM} letters before the *')

    def scores(self, title: str, body: str) -> Weights:
        """Return for each area the sum of the weights of the terms in the text."""
        # The identity of the dictionary of weights identifies a term: each term has its own.
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
    """Return whether the words match the phrase, whose last word may end in *."""
    *middle, last = rest
    if len(found) < len(rest) or found[:-1] != middle:
        return False
    return found[-1].startswith(last[:-1]) if last.endswith("*") else found[-1] == last


class Curve(NamedTuple):
    """A logistic curve from a score to log odds."""

    slope: float
    bias: float

    def log_odds(self, value: float) -> float:
        """Return the log odds at a value."""
        return self.slope * value + self.bias


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of the lexicon's scores."""

    areas: dict[str, Curve]
    """For each area: from its score to the log odds that a person would set it."""
    top_ranked: Curve
    """From the log odds of the top-ranked area to the log odds that it is correct."""


@cache
def load_lexicon() -> AreaLexicon:
    """Load `areas.toml`, which is in the directory of this module. People can edit it."""
    return AreaLexicon.parse(_LEXICON.read_text(encoding="utf-8"))


@cache
def load_calibration() -> Calibration:
    """Load the calibration that `evaluation/train_areas.py` wrote."""
    document = json.loads(_CALIBRATION.read_text(encoding="utf-8"))
    areas = {area: Curve(**numbers) for area, numbers in document["areas"].items()}
    return Calibration(areas, Curve(**document["top_ranked"]))


@cache
def area_version() -> str:
    """Return a fingerprint of lexicon and calibration. A delta is valid only for the version it was trained on."""
    return hashlib.sha256(_LEXICON.read_bytes() + _CALIBRATION.read_bytes()).hexdigest()[:12]


def probability(log_odds: float) -> float:
    """Return the probability for log odds of any magnitude, without overflow."""
    return 0.5 * (1 + math.tanh(log_odds / 2))
