"""Suggests a priority with a reason, by rules that people can read and edit (`priority.toml`).

A suggestion never overwrites the priority that the reporter chose. The rules match events that an issue reports.
They ignore events that it denies, fears or requests, and text in code.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from app.enrichment.interface import PrioritySuggestion
from app.enrichment.phrases import Clause, Patterns, match, parse, sentences
from contracts.states import Priority

READ_CHARACTERS = 6_000
QUOTE_CHARACTERS = 80
BEFORE_WORDS = 4

_CODE = re.compile(r"`[^`\n]{1,300}`")


@dataclass(frozen=True, slots=True)
class _Rule:
    value: Priority
    reason: str
    title_only: bool


class PriorityRules:
    """The rules of a TOML text."""

    def __init__(self, text: str) -> None:
        document: dict[str, Any] = tomllib.loads(text)
        self._rules = [
            _Rule(Priority(rule["value"]), rule["reason"], rule["value"] == Priority.LOW)
            for rule in document["rules"]
        ]
        self._findings = Patterns(
            [(pattern, number) for number, rule in enumerate(document["rules"]) for pattern in rule["patterns"]]
        )
        self._before = Patterns([(pattern, 0) for pattern in document["cancelled_before"]])
        # These may start with a gap, so they are matched one by one after each finding.
        self._after = [parse(pattern) for pattern in document["cancelled_after"]]
        self._requests = Patterns([(pattern, 0) for pattern in document["requests"]])
        self._labels = Patterns([(pattern, 0) for pattern in document["labels"]])

    def suggest(self, title: str, body: str) -> PrioritySuggestion | None:
        """Return the priority and the reason of the first matching rule, or None if no rule matches."""
        texts = (_blank_code(title[:READ_CHARACTERS]), _blank_code(body[:READ_CHARACTERS]))
        if self._is_request(next(sentences(texts[0]), [])):
            return None
        found = [
            (number, place, clause[end - 1].end, -clause[start].start)
            for place, text in enumerate(texts)
            for sentence in sentences(text)
            if not self._is_request(sentence)
            for clause in sentence
            for number, start, end in self._found(clause)
            if place == 0 or not self._rules[number].title_only
        ]
        if not found:
            return None
        number, place, end, start = min(found)
        quote = (title, body)[place][-start:end]
        rule = self._rules[number]
        return PrioritySuggestion(rule.value, f'{rule.reason}: "{" ".join(quote.split())[:QUOTE_CHARACTERS]}"')

    def _is_request(self, sentence: list[Clause]) -> bool:
        if not sentence:
            return False
        clause = sentence[0]
        labelled = len(sentence) > 1 and len(clause) == 1 and any(self._labels.at(clause, 0))
        return labelled or any(self._requests.at(clause, 0))

    def _found(self, clause: Clause) -> Iterator[tuple[int, int, int]]:
        """Yield the rule, the start and the end of each event that a clause reports."""
        for start in range(len(clause)):
            for number, end in self._findings.at(clause, start):
                if not self._is_cancelled(clause, start, end):
                    yield number, start, end

    def _is_cancelled(self, clause: Clause, start: int, end: int) -> bool:
        for index in range(max(start - BEFORE_WORDS, 0), start):
            if clause[index].text.endswith("n't") or any(
                stop <= start for _, stop in self._before.at(clause, index)
            ):
                return True
        return any(match(steps, clause, end) is not None for steps in self._after)


def suggest_priority(title: str, body: str) -> PrioritySuggestion | None:
    """Return the suggested priority for a cleaned title and the prose of a body, with a quoting reason."""
    return load_rules().suggest(title, body)


def _blank_code(text: str) -> str:
    """Replace each code span by a backtick and spaces, so that no rule matches code and offsets stay valid."""
    return _CODE.sub(lambda span: " `".ljust(len(span[0])), text)


@cache
def load_rules() -> PriorityRules:
    """Load `priority.toml`, which is in the directory of this module. People can edit it."""
    return PriorityRules((files("app.enrichment") / "priority.toml").read_text(encoding="utf-8"))
