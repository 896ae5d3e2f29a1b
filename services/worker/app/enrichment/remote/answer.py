"""What a model may answer: the JSON schema that is asked for, and the check of what comes back.

The schema is built of what every server understands (objects, enumerations, null), without lists and lengths:
two areas are two fields, and lengths are checked here.
Nothing outside these fields and the closed vocabulary gets further than this module.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ValidationError

from app.enrichment.interface import PrioritySuggestion, Tag
from app.enrichment.remote.masking import mask
from app.enrichment.sanitize import INPUT_CHARS, to_one_line
from contracts.states import Priority
from contracts.vocabulary import AreaTag, TypeTag

VERSION = "schema-1"
PREFIX = "AI Summary: "
SUMMARY_MAX = 160
REASON_MAX = 200

_OWN_PREFIX = re.compile(r"(?:AI )?Summary:\s*", re.IGNORECASE)


class InvalidResponse(Exception):
    """An answer that cannot be used; the message says why, in words of our own, and `answer` is what came."""

    def __init__(self, fault: str, answer: str = "") -> None:
        super().__init__(fault)
        self.answer = answer


class Confidence(StrEnum):
    """How sure a model says that it is: its words, since its numbers are no better."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def number(self) -> float:
        """The number that is stored, never above 0.9: a model's own word makes nothing certain."""
        return {"low": 0.5, "medium": 0.7, "high": 0.9}[self.value]


class TypeGuess(BaseModel):
    """What kind of issue it is."""

    name: TypeTag
    confidence: Confidence


class AreaGuess(BaseModel):
    """A part of the product that it is about."""

    name: AreaTag
    confidence: Confidence


class PriorityGuess(BaseModel):
    """How urgent the text says that it is."""

    value: Priority
    reason: str


class Answer(BaseModel):
    """A model's answer. Fields that nobody asked for are dropped; what is missing is not suggested."""

    summary: str
    type: TypeGuess | None = None
    area: AreaGuess | None = None
    second_area: AreaGuess | None = None
    priority: PriorityGuess | None = None


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """An answer made fit for an enrichment: plain text, words of the vocabulary, the surest tag first."""

    summary: str
    tags: tuple[Tag, ...]
    priority: PrioritySuggestion | None


def read(content: str) -> ParsedAnswer:
    """Return what a model found; raise InvalidResponse for what is not the JSON that was asked for."""
    try:
        answer = Answer.model_validate_json(content)
    except ValidationError as error:
        raise InvalidResponse(_fault(error), content) from None
    line = to_one_line(_OWN_PREFIX.sub("", mask(answer.summary[:INPUT_CHARS])), SUMMARY_MAX)
    if not any(character.isalnum() for character in line):
        raise InvalidResponse("summary: it has no words", content)
    return ParsedAnswer(PREFIX + line, _tags(answer), _suggestion(answer.priority))


def _tags(answer: Answer) -> tuple[Tag, ...]:
    """Return the guesses as tags, each once, as sure as where it is named first."""
    guesses = [guess for guess in (answer.type, answer.area, answer.second_area) if guess is not None]
    confidences = {guess.name.value: guess.confidence.number for guess in reversed(guesses)}
    return tuple(Tag(name, confidences[name]) for name in dict.fromkeys(guess.name.value for guess in guesses))


def _suggestion(priority: PriorityGuess | None) -> PrioritySuggestion | None:
    """Return the priority with its reason; one without a reason is none."""
    reason = "" if priority is None else to_one_line(mask(priority.reason[:INPUT_CHARS]), REASON_MAX)
    return PrioritySuggestion(priority.value, reason) if priority is not None and reason else None


def _fault(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        ": ".join(filter(None, (".".join(str(part) for part in detail["loc"]), detail["msg"])))
        for detail in details[:3]
    )


def schema() -> dict[str, Any]:
    """Return the JSON schema, in the strict form: every field required, no other allowed."""
    confidence = _words(Confidence)
    area = _or_null(_object(name=_words(AreaTag), confidence=confidence))
    return _object(
        summary={"type": "string"},
        type=_or_null(_object(name=_words(TypeTag), confidence=confidence)),
        area=area,
        second_area=area,
        priority=_or_null(_object(value=_words(Priority), reason={"type": "string"})),
    )


def _words(vocabulary: type[StrEnum]) -> dict[str, Any]:
    return {"type": "string", "enum": [word.value for word in vocabulary]}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}
