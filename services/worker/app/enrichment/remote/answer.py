"""The JSON schema of a model's answer, and the validation of answers.

The schema uses only features that every server supports: objects, enumerations and null. It has no arrays and
no length limits: two areas are two fields, and lengths are checked here. This module passes on only these fields
and values of the closed vocabulary.
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
from contracts.validation import describe_errors
from contracts.vocabulary import AreaTag, TypeTag

VERSION = "schema-1"
PREFIX = "AI Summary: "
SUMMARY_MAX = 160
REASON_MAX = 200

_OWN_PREFIX = re.compile(r"(?:AI )?Summary:\s*", re.IGNORECASE)


class InvalidResponse(Exception):
    """An answer cannot be used. The message is our own text, and `answer` is the model's answer."""

    def __init__(self, fault: str, answer: str = "") -> None:
        super().__init__(fault)
        self.answer = answer


class Confidence(StrEnum):
    """The confidence that a model states. These are words, because a model's numbers are not more precise."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def number(self) -> float:
        """The stored number. It is at most 0.9, because a model's own statement is not certain."""
        return {"low": 0.5, "medium": 0.7, "high": 0.9}[self.value]


class TypeGuess(BaseModel):
    """The suggested type."""

    name: TypeTag
    confidence: Confidence


class AreaGuess(BaseModel):
    """A suggested area."""

    name: AreaTag
    confidence: Confidence


class PriorityGuess(BaseModel):
    """The suggested priority, and the reason from the text."""

    value: Priority
    reason: str


class Answer(BaseModel):
    """A model's answer. Unknown fields are dropped. Missing fields mean that there is no suggestion."""

    summary: str
    type: TypeGuess | None = None
    area: AreaGuess | None = None
    second_area: AreaGuess | None = None
    priority: PriorityGuess | None = None


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """A validated answer: plain text, and tags of the vocabulary."""

    summary: str
    tags: tuple[Tag, ...]
    priority: PrioritySuggestion | None


def read(content: str) -> ParsedAnswer:
    """Parse a model's answer; raise InvalidResponse if it does not match the schema."""
    try:
        answer = Answer.model_validate_json(content)
    except ValidationError as error:
        raise InvalidResponse(_describe(error), content) from None
    line = to_one_line(_OWN_PREFIX.sub("", mask(answer.summary[:INPUT_CHARS])), SUMMARY_MAX)
    if not any(character.isalnum() for character in line):
        raise InvalidResponse("summary: The text has no words", content)
    return ParsedAnswer(PREFIX + line, _tags(answer), _suggestion(answer.priority))


def _tags(answer: Answer) -> tuple[Tag, ...]:
    """Return the guesses as tags without duplicates; the first confidence of a tag counts."""
    guesses = [guess for guess in (answer.type, answer.area, answer.second_area) if guess is not None]
    confidences = {guess.name.value: guess.confidence.number for guess in reversed(guesses)}
    return tuple(Tag(name, confidences[name]) for name in dict.fromkeys(guess.name.value for guess in guesses))


def _suggestion(priority: PriorityGuess | None) -> PrioritySuggestion | None:
    """Return the priority with its reason, or None if it has no reason."""
    reason = "" if priority is None else to_one_line(mask(priority.reason[:INPUT_CHARS]), REASON_MAX)
    return PrioritySuggestion(priority.value, reason) if priority is not None and reason else None


def _describe(error: ValidationError) -> str:
    """Describe the first errors without their values, which are the model's text."""
    errors = error.errors(include_url=False)[:3]
    if errors[0]["type"] == "json_invalid":
        return "it is not valid JSON"
    return describe_errors(errors, with_values=False).removesuffix(".")


def build_schema() -> dict[str, Any]:
    """Return the JSON schema in strict form: every field is required, and no others are allowed."""
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
