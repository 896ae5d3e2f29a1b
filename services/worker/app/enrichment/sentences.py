"""From cleaned paragraphs to the sentences that a summary may be made of."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from app.enrichment.cleaning import Paragraph, is_prompt
from app.enrichment.line_kinds import is_code, is_form
from app.enrichment.sections import UNKNOWN

CANDIDATES: Final = 24
"""Sentences of one issue that are looked at; what an issue is about stands near its beginning."""

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
"""Opens a sentence whose first clause does not stand alone."""
_CLAUSE_END = re.compile(
    r",? (?:because|so that|which|although|though|whereas|"
    r"as (?:it|this|the|i|we)|and (?:i|we|it|this|then|that)|for example|such as)\b|"
    r"[;(:](?=[ \w])| [-\u2013] |, (?!but\b|however\b|even\b)",
    re.IGNORECASE,
)
"""Never before `but`, which the problem follows, nor where it says when (`since the upgrade`, `while saving`)."""
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
    """A sentence and where it stands."""

    text: str
    weight: int
    section: str
    index: int
    """Sentences before it in the issue."""
    in_section: int
    """Sentences before it in sections of the same kind."""
    leads: bool
    """It is the first of its paragraph."""
    trimmed: bool = False
    """It is a part of another: without the words that lead into it (`I noticed that`), or its first clause."""
    first_clause: bool = False
    """What it goes on to say after its first clause is left out."""


def words_of(text: str) -> list[str]:
    """Return the lower-cased words; each character of Chinese and Japanese is one."""
    return _WORD.findall(text.lower())


def sentences(body: list[Paragraph]) -> list[Sentence]:
    """Return the first sentences of the body that a summary may be made of.

    Each comes also without its lead-in, and both also as their first clause alone.
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
    """Yield the sentence and its parts that can stand alone."""
    rest = _without_lead_in(whole.text)
    for variant in (whole, replace(whole, text=rest, trimmed=True)) if rest else (whole,):
        yield variant
        if clause := _first_clause(variant.text):
            yield replace(whole, text=clause, trimmed=True, first_clause=True)


def _whole(text: str) -> str:
    """Return the sentence without what announced something that has been left out (`like this:`)."""
    text = _GREETING.sub("", text.strip(), count=1) if _GREETING.match(text.strip()) else text.strip()
    if not text.endswith((":", "\u2026")):
        return text
    tail = text[-60:]
    return text[:-60] + _DANGLING.sub("", tail)


def _is_fit(text: str) -> bool:
    """Tell a sentence, or a phrase of three words, that holds no code, form or courtesy."""
    head = text[:200]
    return (
        len(words_of(head)) >= 3
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
    """Return the text up to where it could have ended; None where that is nowhere or says too little."""
    if _CONDITION.match(text):
        return None
    ends = (text[: end.start()].rstrip(" ,;:-(") for end in _CLAUSE_END.finditer(text, 0, _CLAUSE_CHARS_MAX))
    return next((clause for clause in ends if clause.count(" ") + 1 >= _CLAUSE_WORDS_MIN), None)
