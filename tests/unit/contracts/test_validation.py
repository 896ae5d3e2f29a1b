"""Validation errors are sentences: the value, the rule and what to use instead."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, field_validator

from contracts.limits import PROJECT_PATTERN
from contracts.validation import VALUE_MAX, describe_error, describe_errors, format_value


class Priority(StrEnum):
    LOW = "low"
    HIGH = "high"


class Example(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=5)] = "name"
    pair: Annotated[str, Field(min_length=2)] = "ab"
    priority: Priority = Priority.LOW
    project: Annotated[str, Field(pattern=PROJECT_PATTERN)] = "default"
    code: Annotated[str, Field(pattern="^[0-9]+$")] = "1"
    count: Annotated[int, Field(ge=1, le=100)] = 1
    ratio: Annotated[float, Field(gt=0)] = 1
    active: bool = True
    tags: Annotated[list[str], Field(max_length=2)] = []
    id: UUID | None = None
    token: SecretStr = SecretStr("x")
    port: int = 1

    @field_validator("port")
    @classmethod
    def _is_free(cls, value: int) -> int:
        if value == 80:
            raise ValueError("must not be 80")
        return value


def sentence_of(fields: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as raised:
        Example.model_validate(fields)
    return " ".join(describe_error(error) for error in raised.value.errors())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"priority": "High"}, '"High" is not valid. Use low or high.'),
        ({"priority": None}, "null is not valid. Use low or high."),
        ({"priority": ["low"]}, "A list is not valid. Use low or high."),
        ({"name": "  "}, "The text is empty. Use at least 1 character."),
        ({"name": "longer"}, "The text is too long. Use at most 5 characters."),
        ({"name": 5}, "5 is not valid. Use a string."),
        ({"pair": "a"}, "The text is too short. Use at least 2 characters."),
        (
            {"project": "Acme Shop"},
            (
                '"Acme Shop" is not valid. '
                "Use up to 100 lower-case letters, digits and . _ / -, beginning with a letter or digit."
            ),
        ),
        ({"code": "x"}, '"x" is not valid. Use text of the form ^[0-9]+$.'),
        ({"count": "many"}, '"many" is not valid. Use a whole number.'),
        ({"count": 1.5}, "1.5 is not valid. Use a whole number."),
        ({"count": 0}, "0 is not valid. Use a number of at least 1."),
        ({"count": 101}, "101 is not valid. Use a number of at most 100."),
        ({"ratio": 0}, "0 is not valid. Use a number greater than 0.0."),
        ({"active": "maybe"}, '"maybe" is not valid. Use true or false.'),
        ({"tags": {"a": 1}}, "A JSON object is not valid. Use a list."),
        ({"tags": ["a", "b", "c"]}, "There are too many items. Use at most 2."),
        ({"id": "1"}, '"1" is not valid. Use a UUID such as 01a20614-800e-771f-862f-526a86f415ac.'),
        ({"port": 80}, "The value must not be 80."),
        ({"colour": "red"}, "This field does not exist. Check its spelling or remove it."),
    ],
)
def test_describe_error_with_invalid_field_is_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    assert sentence_of(fields) == sentence


def test_describe_error_with_missing_field_names_the_rule() -> None:
    assert describe_error({"type": "missing", "msg": "Field required", "input": {}}) == "This field is required."


def test_describe_error_with_secret_field_hides_the_value() -> None:
    assert sentence_of({"token": ["itk_secret"]}) == "The value is not valid. Use a string."
    assert sentence_of({"token": 12345}) == "The value is not valid. Use a string."


def test_describe_error_with_unknown_type_replaces_the_words_of_pydantic() -> None:
    error = {"type": "frozen_set_type", "msg": "Input should be a valid frozenset", "input": 1}
    assert describe_error(error) == "The value must be a valid frozenset."


def test_describe_error_without_input_keeps_the_message() -> None:
    assert describe_error({"type": "missing", "msg": "Set source."}) == "Set source."


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a" * VALUE_MAX, f'"{"a" * VALUE_MAX}"'),
        ("a" * 100_000, f'"{"a" * VALUE_MAX}..."'),
        ("a\nb\x00", r'"a\nb\x00"'),
        ("\ud800", r'"\ud800"'),
        ("\u202ereversed", r'"\u202ereversed"'),
        pytest.param(10**5000, "The number", id="huge_number"),
        (object(), "The value"),
    ],
)
def test_format_value_is_one_bounded_printable_line(value: object, shown: str) -> None:
    assert format_value(value) == shown
    assert format_value(value).encode()


def test_describe_errors_of_several_fields_names_each_field() -> None:
    with pytest.raises(ValidationError) as raised:
        Example.model_validate({"count": "many", "priority": "High"})

    errors = raised.value.errors()
    assert describe_errors(errors) == (
        'priority: "High" is not valid. Use low or high. count: "many" is not valid. Use a whole number.'
    )
    assert describe_errors(errors, with_values=False) == (
        "priority: The value is not valid. Use low or high. count: The value is not valid. Use a whole number."
    )
