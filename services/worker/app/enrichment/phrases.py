"""Splits text into sentences, clauses and words, and matches patterns of words.

A pattern is a sequence of words: a|b matches either word, word* matches a prefix, and ... skips up to three words.
A match never crosses the end of a clause.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

GAP_WORDS = 3

_CHUNK = re.compile(r"[^\s-]+")
_SURROUNDING = "\"'\u201c\u201d\u2018\u2019()[]{}<>*_,.;:!?\u2026"
_CODE_SIGNS = re.compile(r"[._/\\()<>=@#$\[\]{}:|]")
_CLAUSE_END = re.compile(r"[,.;:!?\u2026\])][\"'\u201d\u2019)\]]{0,3}$")
_SENTENCE_END = re.compile(r"[.;!?\u2026][\"'\u201d\u2019)\]]{0,3}$")
_CONJUNCTIONS = frozenset(("and", "but", "then", "because", "so", "while", "although", "however"))
_LONGEST_WORD = 40


class Word(NamedTuple):
    """A word in lower case, and its position in the text."""

    text: str
    start: int
    end: int


Clause = list[Word]


@dataclass(frozen=True, slots=True)
class Step:
    """One position of a pattern: any of the words or prefixes, after at most `gap` other words."""

    words: frozenset[str]
    beginnings: tuple[str, ...]
    gap: int

    def fits(self, word: str) -> bool:
        """Return whether the word matches this step."""
        return word in self.words or word.startswith(self.beginnings)


Pattern = tuple[Step, ...]


class Patterns:
    """Patterns with their meanings, indexed by their possible first words."""

    def __init__(self, listed: Sequence[tuple[str, int]]) -> None:
        self._words: dict[str, list[tuple[int, Pattern]]] = {}
        self._beginnings: list[tuple[str, tuple[int, Pattern]]] = []
        for text, meaning in listed:
            first, *rest = parse(text)
            for word in first.words:
                self._words.setdefault(word, []).append((meaning, tuple(rest)))
            self._beginnings += [(beginning, (meaning, tuple(rest))) for beginning in first.beginnings]
        self._stems = tuple(beginning for beginning, _ in self._beginnings)

    def at(self, clause: Clause, start: int) -> Sequence[tuple[int, int]]:
        """Return the meaning and the end of each pattern that matches the words from `start` on."""
        word = clause[start].text
        begun = self._words.get(word, [])
        if word.startswith(self._stems):
            begun = begun + [pattern for beginning, pattern in self._beginnings if word.startswith(beginning)]
        ends = [(meaning, match(rest, clause, start + 1)) for meaning, rest in begun]
        return [(meaning, end) for meaning, end in ends if end is not None]


def parse(text: str) -> Pattern:
    """Parse a pattern."""
    steps = []
    gap = 0
    for place in text.split():
        if place == "...":
            gap = GAP_WORDS
            continue
        choices = place.split("|")
        beginnings = tuple(choice[:-1] for choice in choices if choice.endswith("*"))
        steps.append(Step(frozenset(c for c in choices if not c.endswith("*")), beginnings, gap))
        gap = 0
    return tuple(steps)


def match(steps: Pattern, clause: Clause, start: int) -> int | None:
    """Return the index after the words that match the steps, or None if they do not match."""
    if not steps:
        return start
    for index in range(start, min(start + steps[0].gap + 1, len(clause))):
        if steps[0].fits(clause[index].text):
            end = match(steps[1:], clause, index + 1)
            if end is not None:
                return end
    return None


def sentences(text: str) -> Iterator[list[Clause]]:
    """Yield the sentences of a text as lists of clauses, which are lists of words."""
    sentence: list[Clause] = []
    clause: Clause = []
    last = 0
    for chunk in _CHUNK.finditer(text):
        word = _word(chunk)
        ends_line = "\n" in text[last : chunk.start()]
        if ends_line or word.text in _CONJUNCTIONS:
            sentence.append(clause)
            clause = []
        if ends_line:
            yield from _filled(sentence)
            sentence = []
        clause.append(word)
        if _CLAUSE_END.search(chunk[0]):
            sentence.append(clause)
            clause = []
        if _SENTENCE_END.search(chunk[0]):
            yield from _filled(sentence)
            sentence = []
        last = chunk.end()
    sentence.append(clause)
    yield from _filled(sentence)


def _filled(sentence: list[Clause]) -> Iterator[list[Clause]]:
    clauses = [clause for clause in sentence if clause]
    if clauses:
        yield clauses


def _word(chunk: re.Match[str]) -> Word:
    """Return the chunk as a word. Code, paths and very long words become empty, which no pattern matches."""
    if chunk[0].isalpha():
        return Word(chunk[0].lower(), *chunk.span())
    text = chunk[0].strip(_SURROUNDING)
    if not text or len(text) > _LONGEST_WORD or _CODE_SIGNS.search(text) or chunk[0].endswith("()"):
        return Word("", *chunk.span())
    start = chunk.start() + chunk[0].index(text)
    return Word(text.lower().replace("\u2019", "'"), start, start + len(text))
