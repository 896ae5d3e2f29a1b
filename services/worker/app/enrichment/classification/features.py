"""Extracts the features of an issue for the classifiers: terms by block, and hand-made features.

A block is a part of the issue (title, text, code ...). A term consists of its block, a colon and one or two words.
The Markdown is not cleaned, because headings and answers of templates indicate the type better than prose. Every
pattern is bounded and only the beginning of a description is read, so that the time is bounded too.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from app.enrichment.classification.hand_features import hand_features
from app.enrichment.classification.linear import Floats, Integers, SparseRows

READ_CHARACTERS = 8_000
"""Maximum characters of a description that are read. The type is usually clear from the beginning."""
_TITLE_CHARACTERS = 500
_CODE_WORDS = 150
_COMMENT_START, _COMMENT_END = "<!--", "-->"

_WORD = re.compile(r"[^\W\d_]\w{0,29}(?:'[a-z]{1,3})?|\d{1,4}|[?!]")
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s{1,9}(\S.{0,80})|\s{0,3}\*\*([^*]{2,60})\*\*:?\s{0,9}$")
_FIELD = re.compile(
    r"\s{0,9}(?:[-*]\s{1,9})?(?:\*\*)?([A-Za-z][\w /?()'-]{1,40}?)(?:\*\*)?\s?[:=]\s{0,3}(\S.{0,44})$"
)
_MARKUP = re.compile(r"</?\w{1,9}>|[*_`]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_URL = re.compile(r"https?://\S{1,500}")


@dataclass(frozen=True, slots=True)
class Document:
    """The features of an issue: the counts of terms in each block, and the hand-made features."""

    blocks: dict[str, Counter[str]]
    hand_features: Floats


@dataclass(slots=True)
class _Parts:
    prose: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


def read(title: str, description: str) -> Document:
    """Return the features of an issue."""
    title, description = title[:_TITLE_CHARACTERS], description[:READ_CHARACTERS]
    parts = _take_apart(description)
    title_words = words(title)
    blocks = {
        "title": Counter(ngrams("title", title_words)),
        "first": Counter(
            f"first:{' '.join(title_words[:length])}" for length in (1, 2) if len(title_words) >= length
        ),
        "letters": Counter(_letters(title)),
        "text": Counter(ngrams("text", words("\n".join(parts.prose)))),
        "heading": Counter(f"heading:{heading}" for heading in parts.headings),
        "answer": Counter(f"answer:{answer}" for answer in parts.answers),
        "code": Counter(f"code:{word}" for word in words("\n".join(parts.code))[:_CODE_WORDS]),
    }
    return Document(blocks, hand_features(title, description, parts.prose, parts.headings, parts.code))


def take_first_sentence(description: str) -> str:
    """Return the first sentence of prose, at most 200 characters, as the text of a short report."""
    for line in _take_apart(description[:READ_CHARACTERS]).prose:
        if len(text := line.strip(" *->#")) > 20:
            return _SENTENCE_END.split(text, maxsplit=1)[0][:200]
    return ""


def words(text: str) -> list[str]:
    """Return the words, numbers, question and exclamation marks of a text in lower case. A URL is one word."""
    return _WORD.findall(_URL.sub(" url ", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def ngrams(place: str, found: Sequence[str]) -> Iterator[str]:
    """Yield words and pairs of adjacent words as terms of the block `place`."""
    for word in found:
        yield f"{place}:{word}"
    for left, right in pairwise(found):
        yield f"{place}:{left} {right}"


def _letters(title: str) -> Iterator[str]:
    """Yield the character n-grams of length 3 to 5, which match endings and spelling variants."""
    text = f" {' '.join(title.lower().split())[:120]} "
    for length in (3, 4, 5):
        for start in range(len(text) - length + 1):
            yield f"letters:{text[start : start + length]}"


def _take_apart(description: str) -> _Parts:
    """Sort the lines of a description by kind, without the comments of templates."""
    parts = _Parts()
    fence, heading = "", ""
    for line in _outside_comments(description):
        marker = _FENCE.match(line)
        if marker and (not fence or marker[1].startswith(fence)):
            fence, heading = "" if fence else marker[1], ""
        elif fence:
            parts.code.append(line)
        elif found := _HEADING.match(line):
            heading = (found[1] or found[2]).strip(" #:").lower()[:40]
            parts.headings.append(heading)
        elif line.strip():
            parts.prose.append(line)
            parts.answers.extend(_answer(heading, line))
            heading = ""
    return parts


def _outside_comments(text: str) -> Iterator[str]:
    """Yield the lines without any part of an HTML comment."""
    inside = False
    for line in text.splitlines():
        if inside or _COMMENT_START in line:
            inside = _COMMENT_END not in line.rpartition(_COMMENT_START)[2]
        else:
            yield line


def _answer(heading: str, line: str) -> Iterator[str]:
    """Yield `question=answer` if a line is a short answer to the preceding heading or to its own label."""
    if found := _FIELD.match(line):
        heading, line = found[1].lower(), found[2]
    answer = _MARKUP.sub(" ", line.lower()).split()
    if heading and 0 < len(answer) <= 3:
        yield f"{heading[:30].strip(' ?:')}={' '.join(answer)[:30]}"


class Vocabulary:
    """Terms, each with a column and a weight (inverse document frequency)."""

    def __init__(self, listed: Sequence[str], weights: Floats) -> None:
        self.terms = tuple(listed)
        self.weights = weights
        self._columns = {term: column for column, term in enumerate(self.terms)}

    def __len__(self) -> int:
        return len(self.terms)

    @classmethod
    def of(cls, documents: Iterable[Counter[str]], *, least: int) -> "Vocabulary":
        """Return a vocabulary of the terms that occur in at least `least` documents, in alphabetical order."""
        counted = 0
        frequencies: Counter[str] = Counter()
        for document in documents:
            counted += 1
            frequencies.update(document.keys())
        kept = sorted(term for term, frequency in frequencies.items() if frequency >= least)
        shares = np.array([frequencies[term] for term in kept], dtype=np.float64)
        return cls(kept, np.log((1 + counted) / (1 + shares)) + 1)

    def vector(self, document: Counter[str]) -> tuple[Integers, Floats]:
        """Return the columns and values of the known terms: (1 + log count) * weight, normalised to length 1."""
        known = sorted((self._columns[term], count) for term, count in document.items() if term in self._columns)
        columns = np.array([column for column, _ in known], dtype=np.int64)
        values = (1 + np.log(np.array([count for _, count in known], dtype=np.float64))) * self.weights[columns]
        length = float(np.sqrt((values * values).sum()))
        return columns, values / length if length else values

    def rows(self, documents: Sequence[Counter[str]]) -> SparseRows:
        """Return a matrix with one row per document."""
        return SparseRows.stack([self.vector(document) for document in documents], len(self))
