"""A summary by extraction: the title, and the sentence that adds most to it."""

import re

from app.enrichment.cleaning import Paragraph, clean_inline

PREFIX = "AI Summary: "
MAX_CHARS = 160

_TITLE_LABEL = re.compile(
    r"\s*(?:\[[^\[\]]{1,30}\]|(?:bug|feature(?: request)?|question|docs?|enhancement|issue)(?=\s?:))\s?:?\s*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9À-Þ])")
_GREETING = re.compile(
    r"(?:hi|hello|hey|dear|thanks?|thank you|sorry|bonjour|hallo|salut|regards|cheers)\b|see\b|e\.g|i\.e",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w{3,}")
_CANDIDATES = 40


def summarise(title: str, body: list[Paragraph]) -> str:
    """Return the summary, at most `MAX_CHARS` characters after its prefix; never empty."""
    head = _clean_title(title)
    sentence = _best_sentence(head, body)
    if sentence is None:
        return PREFIX + _shorten(head)
    joint = " " if head.endswith((".", "!", "?", "…")) else ". "
    room = MAX_CHARS - len(head) - len(joint)
    if room < 40:
        return PREFIX + _shorten(head)
    return PREFIX + head + joint + _shorten(sentence, room)


def _clean_title(title: str) -> str:
    cleaned = clean_inline(title)
    unlabelled = _TITLE_LABEL.sub("", cleaned, count=1) if _TITLE_LABEL.match(cleaned) else cleaned
    return unlabelled or cleaned or title


def _best_sentence(title: str, body: list[Paragraph]) -> str | None:
    known = {word.lower() for word in _WORD.findall(title)}
    best: tuple[float, str] | None = None
    seen = 0
    for paragraph in body:
        for sentence in _SENTENCE_END.split(paragraph.text):
            if not _is_sentence(sentence):
                continue
            seen += 1
            new = len({word.lower() for word in _WORD.findall(sentence)} - known)
            if new < 3:
                continue
            score = paragraph.weight * 2 + min(new, 8) / 8 - seen * 0.15
            if best is None or score > best[0]:
                best = score, sentence
        if seen >= _CANDIDATES:
            break
    return None if best is None else best[1]


def _is_sentence(text: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in text)
    return (
        20 <= len(text) <= 600
        and letters >= 0.8 * len(text)
        and text.count(" ") >= 3
        and not text.endswith(":")
        and not _GREETING.match(text)
    )


def _shorten(text: str, room: int = MAX_CHARS) -> str:
    if len(text) <= room:
        return text
    cut = text[: room - 1]
    at_word = cut.rsplit(" ", 1)[0] if " " in cut[room // 2 :] else cut
    return at_word.rstrip(" ,;:-(") + "…"
