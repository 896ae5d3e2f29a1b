"""Tags from a closed vocabulary: one type and at most two areas, by a weighted lexicon."""

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from app.enrichment.interface import Tag

TITLE_FACTOR = 2.0
"""A word in the title says more about an issue than one in its body."""
BODY_CHARS = 6000
MAX_AREAS = 2
MAX_CONFIDENCE = 0.99
"""Counting words never makes sure."""

_TOKEN = re.compile(r"[^\W_]+(?:['\u2019][a-z]+)?")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The vocabulary: for each tag its terms and their weights; `types` exclude each other."""

    threshold: float
    types: tuple[str, ...]
    weights: dict[str, dict[str, float]]
    """Tag weights by term. A term of one to three words; one that ends in `*` stands for its prefix."""
    prefix_lengths: tuple[int, ...]

    @property
    def tags(self) -> set[str]:
        """Every tag of the vocabulary."""
        return {tag for weights in self.weights.values() for tag in weights}


@cache
def load_lexicon() -> Lexicon:
    """Read `lexicon.toml`, which lies beside this module for people to edit."""
    document = tomllib.loads((files("app.enrichment") / "lexicon.toml").read_text())
    weights: dict[str, dict[str, float]] = {}
    for tag, terms in document["tags"].items():
        for weight, words in terms.items():
            for word in words:
                weights.setdefault(word, {})[tag] = float(weight)
    prefixes = sorted({len(term) - 1 for term in weights if term.endswith("*")})
    return Lexicon(document["threshold"], tuple(document["types"]), weights, tuple(prefixes))


def tag_text(title: str, body: str) -> tuple[Tag, ...]:
    """Return the tags that the text speaks for, the surest first; none where it speaks for none."""
    lexicon = load_lexicon()
    scores: dict[str, float] = dict.fromkeys(lexicon.types, 0.0)
    counted: set[str] = set()
    for text, factor in ((title, TITLE_FACTOR), (body[:BODY_CHARS], 1.0)):
        for term in _terms(text, lexicon.prefix_lengths):
            if term in lexicon.weights and term not in counted:
                counted.add(term)
                for tag, weight in lexicon.weights[term].items():
                    scores[tag] = scores.get(tag, 0.0) + weight * factor
    sure = [
        Tag(tag, min(round(confidence, 2), MAX_CONFIDENCE))
        for tag, score in scores.items()
        if (confidence := 1 - math.exp(-max(score, 0.0))) >= lexicon.threshold
    ]
    sure.sort(key=lambda tag: (-tag.confidence, tag.name))
    types = [tag for tag in sure if tag.name in lexicon.types][:1]
    areas = [tag for tag in sure if tag.name not in lexicon.types][:MAX_AREAS]
    return (*types, *areas)


def _terms(text: str, prefix_lengths: tuple[int, ...]) -> Iterator[str]:
    """Yield the text's words, word pairs and triples, and the prefixes that the lexicon may hold."""
    words = [word.replace("\u2019", "'") for word in _TOKEN.findall(text.lower())]
    for index, word in enumerate(words):
        yield word
        for length in prefix_lengths:
            if length <= len(word):
                yield f"{word[:length]}*"
        if index + 1 < len(words):
            pair = f"{word} {words[index + 1]}"
            yield pair
            if index + 2 < len(words):
                yield f"{pair} {words[index + 2]}"
