"""Extractive summaries: the title, and the sentence that adds most to it."""

import re
from collections.abc import Collection
from typing import Final

from app.enrichment.cleaning import Paragraph, clean_inline
from app.enrichment.ranking import HEAD_CHARS, build_contexts, load_model, score
from app.enrichment.sentences import sentences, split_words

PREFIX: Final = "AI Summary: "
MAX_CHARS: Final = HEAD_CHARS
_ROOM_MIN: Final = 40
"""Minimum characters for a sentence after the title. A shorter one is not useful."""
_NEW_WORDS_MIN: Final = 2
_NEW_SHARE_MIN: Final = 0.35
"""Minimum number and share of words that are not in the title. Otherwise the sentence only repeats the title."""
_NEW_WORDS_GOOD: Final = 3
"""A sentence with fewer new words is chosen only if every sentence has fewer."""

_BRACES = str.maketrans("", "", "{}")
_TITLE_LABEL = re.compile(
    r"\s*(?:\[[^\[\]]{1,30}\]|(?:bug|feature(?: request)?|question|docs?|enhancement|issue)(?=\s?:))\s?:?\s*",
    re.IGNORECASE,
)
_CLAUSE_ENDS = (", ", "; ", ": ", " (", " - ", " \u2013 ", "\u3001", "\uff0c")
_CLOSED = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f")


def summarise(title: str, body: list[Paragraph]) -> str:
    """Return the summary: the prefix and at most `MAX_CHARS` characters. It is never empty."""
    head = _clean_title(title)
    room = MAX_CHARS - len(head) - len(". ")
    sentence = choose_sentence(body, frozenset(split_words(head))) if room >= _ROOM_MIN else None
    if sentence is None:
        return PREFIX + cut_at_clause(head)
    joint = " " if head.endswith(_CLOSED) else ". "
    return PREFIX + head + joint + cut_at_clause(sentence, room)


def choose_sentence(body: list[Paragraph], known: Collection[str] = frozenset()) -> str | None:
    """Return the full sentence that best describes the issue, or None if no sentence is suitable.

    `known` are lower-cased words that precede the sentence. The sentence must add new words.
    """
    model = load_model()
    best: tuple[bool, float, str] | None = None
    for seen in build_contexts(sentences(body), model.words):
        new = {*seen.content}.difference(known)
        if known and (len(new) < _NEW_WORDS_MIN or len(new) < _NEW_SHARE_MIN * len(seen.content)):
            continue
        rank = not known or len(new) >= _NEW_WORDS_GOOD, score(seen, model)
        if best is None or rank > best[:2]:
            best = *rank, seen.sentence.text
    return None if best is None else best[2]


def cut_at_clause(text: str, room: int = MAX_CHARS) -> str:
    """Return the text; if it is longer than `room` characters, truncate it after a clause or a word."""
    if len(text) <= room:
        return text
    cut = text[: room - 1]
    clause = max(cut.rfind(mark) for mark in _CLAUSE_ENDS)
    word = cut.rfind(" ")
    end = next((end for end in (clause, word) if end >= room // 2), len(cut))
    return cut[:end].rstrip(" ,;:-(\u2026") + "\u2026"


def _clean_title(title: str) -> str:
    cleaned = clean_inline(title.translate(_BRACES))
    unlabelled = _TITLE_LABEL.sub("", cleaned, count=1) if _TITLE_LABEL.match(cleaned) else cleaned
    return unlabelled or cleaned or title
