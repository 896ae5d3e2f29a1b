"""Splits cleaned paragraphs into candidate sentences for a summary."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from app.enrichment.cleaning import Paragraph, is_prompt
from app.enrichment.line_kinds import is_code, is_form
from app.enrichment.sections import UNKNOWN

CANDIDATES: Final = 24
"""Maximum number of sentences per issue. The topic of an issue is near its beginning."""

_CJK = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_END = re.compile(
    r"(?<=[.!?\u2026])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bvs\.)(?<!\bz\.B\.)[\"')\]]?\s+(?=[\"'(\[]?(?:[A-Z0-9À-ÞА-Я]|i\b))|"
    r"(?<=[\u3002\uff01\uff1f])|"
    r"\s(?=(?:how to repeat|steps to reproduce|to reproduce:|(?:expected|actual) (?:results?|behaviou?r)) )"
)
_LEAD_IN = re.compile(
    r"(?:(?:currently|so|also|and|but|however|basically|actually|well|now|then|again|right now|at the moment|"
    r"please),?|"
    r"it (?:seems|looks|appears)(?: like| that| as if)|"
    r"it would be (?:\w+ )?(?:nice|great|good|useful|helpful|cool|awesome|better)(?: feature)?(?: if| to have|"
    r" to be able to| to)?|"
    r"i(?:'ve| have)? (?:\w+ )?(?:noticed|found|discovered|see|saw|think|believe|guess|realized|"
    r"found out)(?: that)?|"
    r"i(?:'d| would) (?:like|love) to (?:be able to|have|see|propose|suggest|request)?|i (?:want|need) to|"
    r"i(?:'m| am) (?:trying|attempting) to|(?:this|the|my) (?:issue|problem|bug|error) is(?: that)?|"
    r"(?:we|you) (?:should|could|might|can)|(?:could|can) you|the goal of this \w+ is to|this issue proposes to|"
    r"i (?:propose|suggest)(?: to| that)?|would it be possible to|is it possible to|i(?:'m| am) (?:getting|"
    r"having|seeing|facing)(?: an?| the)?|i (?:get|got|have)(?: an?| the)?|"
    r"there (?:is|are|was|seems to be)(?: an?)?)\s+",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"(?:when|if|after|while|once|since|as|because|although|though|until|unless|before|whenever|where|"
    r"for|with|without|in|on|at|from|to|given|due to|instead of|similar to|during)\b",
    re.IGNORECASE,
)
"""The start of a sentence whose first clause is incomplete."""
_CLAUSE_END = re.compile(
    r",? (?:because|so that|which|although|though|whereas|"
    r"as (?:it|this|the|i|we)|and (?:i|we|it|this|then|that)|for example|such as)\b|"
    r"[;(:](?=[ \w])| [-\u2013] |, (?!but\b|however\b|even\b)",
    re.IGNORECASE,
)
"""Not before `but`, because the problem follows, and not before a time (`since the upgrade`, `while saving`)."""
_CLAUSE_CHARS_MAX: Final = 400
_CLAUSE_WORDS_MIN: Final = 5
_GREETING = re.compile(
    r"(?:hi|hello|hey|dear|bonjour|bonsoir|salut|hallo|moin|hola|good (?:morning|day))\b(?: (?:all|there|guys|"
    r"everyone|everybody|team|folks|zusammen|à tous|"
    r"people|devs?|\w{1,12} team))?[\s,.!:)-]{1,5}",
    re.IGNORECASE,
)
_NO_SENTENCE = re.compile(
    r"(?:thanks?|thank you|regards|cheers|merci|danke|p\.?s\.?|edit|cc|ping|refs?)\b[\s:,#!.]|(?:see|related|"
    r"fixes)\b.{0,40}$|"
    r"see attach|(?:i(?:'m| am) (?:using|running|on)|my (?:computer|machine|os|system) is)\b.{0,70}$",
    re.IGNORECASE,
)
_UNFIT = re.compile(
    r"[{}`|]|^[#\[]|\w=[\"']|<[^\s\d]|[^\s\d]>|\*\*|[=!]==|&&|\w->|\w\([^)\s]*[(=,'\"]|\);|\]\(|;$"
)
_DANGLING = re.compile(
    r"[\s,(]*\b(?:like (?:this|so|that|the following)|as follows|(?:for|in this) example|e\.g\.?|i\.e\.?|here|"
    r"with|using|via|"
    r"such as|something like|see|in|at|by|from)?[\s:(,\u2026-]*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and its position."""

    text: str
    weight: int
    section: str
    index: int
    """Number of preceding sentences in the issue."""
    in_section: int
    """Number of preceding sentences in sections of the same kind."""
    leads: bool
    """Whether it is the first sentence of its paragraph."""
    trimmed: bool = False
    """Whether it is a part of another sentence: without its lead-in (`I noticed that`), or its first clause."""
    first_clause: bool = False
    """Whether only the first clause is included."""


def split_words(text: str) -> list[str]:
    """Return the lower-cased words. Each Chinese or Japanese character is a word."""
    return _WORD.findall(text.lower())


def sentences(body: list[Paragraph]) -> list[Sentence]:
    """Return the first sentences of the body that may be used in a summary, and their variants.

    The variants are the sentence without its lead-in, and the first clause of both.
    """
    found: list[Sentence] = []
    counts: dict[str, int] = {}
    index = 0
    for paragraph in body:
        section = paragraph.section or UNKNOWN
        for position, piece in enumerate(_END.split(paragraph.text, CANDIDATES)):
            text = _whole(piece)
            if not _is_fit(text):
                continue
            whole = Sentence(text, paragraph.weight, section, index, counts.get(section, 0), position == 0)
            found += _variants(whole)
            counts[section] = counts.get(section, 0) + 1
            index += 1
            if index == CANDIDATES:
                return found
    return found


def _variants(whole: Sentence) -> Iterator[Sentence]:
    """Yield the sentence and its parts that are complete by themselves."""
    rest = _without_lead_in(whole.text)
    for variant in (whole, replace(whole, text=rest, trimmed=True)) if rest else (whole,):
        yield variant
        if clause := _first_clause(variant.text):
            yield replace(whole, text=clause, trimmed=True, first_clause=True)


def _whole(text: str) -> str:
    """Return the sentence without words that announce removed text (`like this:`)."""
    text = _GREETING.sub("", text.strip(), count=1) if _GREETING.match(text.strip()) else text.strip()
    if not text.endswith((":", "\u2026")):
        return text
    tail = text[-60:]
    return text[:-60] + _DANGLING.sub("", tail)


def _is_fit(text: str) -> bool:
    """Return whether the text has at least three words and contains no code, form or courtesy."""
    head = text[:200]
    return (
        len(split_words(head)) >= 3
        and not _UNFIT.search(head)
        and not _NO_SENTENCE.match(text)
        and not is_prompt(text)
        and not is_code(text)
        and not is_form(text)
        and sum(character.isalpha() or character == " " for character in head) >= 0.75 * len(head)
    )


def _without_lead_in(text: str) -> str | None:
    start = 0
    while lead := _LEAD_IN.match(text, start):
        start = lead.end()
    rest = text[start:]
    return rest[0].upper() + rest[1:] if start and rest.count(" ") >= 3 else None


def _first_clause(text: str) -> str | None:
    """Return the first clause of the text, or None if there is none or it is too short."""
    if _CONDITION.match(text):
        return None
    ends = (text[: end.start()].rstrip(" ,;:-(") for end in _CLAUSE_END.finditer(text, 0, _CLAUSE_CHARS_MAX))
    return next((clause for clause in ends if clause.count(" ") + 1 >= _CLAUSE_WORDS_MIN), None)
