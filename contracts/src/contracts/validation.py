"""Turn pydantic's validation errors into sentences for users.

pydantic writes for developers: "Input should be 'low' or 'high'". Users of the API and operators read
`"High" is not valid. Use low or high.`
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from contracts.limits import (
    CONTRACT_VERSION_PATTERN,
    EXTERNAL_SOURCE_PATTERN,
    HOLDER_PATTERN,
    PROJECT_PATTERN,
    REQUEST_ID_PATTERN,
    TRACEPARENT_PATTERN,
)
from contracts.vocabulary import TAG_PATTERN, TAG_RULE

VALUE_MAX = 80
"""Characters of an offending value that a sentence shows."""

HTTP_URL_PATTERN = r"^https?://[!-~]+$"

_SECRET = re.compile(r"(^|_)(token|secret|password|key)$", re.IGNORECASE)
"""Fields whose value a sentence never shows."""

_PATTERNS = {
    PROJECT_PATTERN: "up to 100 lower-case letters, digits and . _ / -, beginning with a letter or digit",
    EXTERNAL_SOURCE_PATTERN: "up to 255 lower-case letters, digits and . _ : / -, "
    "beginning with a letter or digit",
    HOLDER_PATTERN: "up to 64 letters, digits and . _ @ -, beginning with a letter or digit",
    HTTP_URL_PATTERN: "an http or https URL without spaces",
    TAG_PATTERN: TAG_RULE,
    CONTRACT_VERSION_PATTERN: "a version such as 1.1.0",
    REQUEST_ID_PATTERN: "up to 128 letters, digits and . _ ~ + / = : -",
    TRACEPARENT_PATTERN: "a traceparent header of W3C Trace Context",
}
"""The rules of the project's own patterns, for sentences."""

_WHOLE_NUMBER = "a whole number"
_NUMBER = "a number"
_BOOLEAN = "true or false"
_OBJECT = "a JSON object"
_UUID = "a UUID such as 01a20614-800e-771f-862f-526a86f415ac"

_ALLOWED: dict[str, str] = {
    "string_type": "a string",
    "string_sub_type": "a string",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": "a smaller number",
    "int_from_float": _WHOLE_NUMBER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "a finite number",
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "uuid_type": _UUID,
    "uuid_parsing": _UUID,
    "enum": "{expected}",
    "literal_error": "{expected}",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
}
"""Allowed values by pydantic's error type (https://docs.pydantic.dev/latest/errors/validation_errors/)."""

_SENTENCES: dict[str, str] = {
    "missing": "This field is required.",
    "extra_forbidden": "This field does not exist. Check its spelling or remove it.",
    "json_invalid": "This is not valid JSON: {error}.",
    "string_unicode": "The text is not valid UTF-8.",
    "string_too_short": "The text is too short. Use at least {min_length} characters.",
    "string_too_long": "The text is too long. Use at most {max_length} characters.",
    "too_short": "There are too few items. Use at least {min_length}.",
    "too_long": "There are too many items. Use at most {max_length}.",
}
"""Rules whose sentence does not show the value."""


def describe_errors(errors: Iterable[Mapping[str, Any]], *, with_values: bool = True) -> str:
    """Describe several errors in sentences, each after the name of its field."""
    described = ((_format_field(error), describe_error(error, with_value=with_values)) for error in errors)
    return " ".join(": ".join(filter(None, field_and_error)) for field_and_error in described)


def describe_error(error: Mapping[str, Any], *, with_value: bool = True) -> str:
    """Describe an error in sentences: the offending value and the rule.

    `error` is an item of `ValidationError.errors()`. An error without `input` comes from this project, and its
    message is returned. Use `with_value=False` if the value must not be shown, for example in logs.
    """
    if "input" not in error:
        return _complete_sentence(str(error["msg"]))
    kind, context = str(error["type"]), error.get("ctx") or {}
    if kind in {"too_short", "too_long"} and isinstance(error["input"], str):
        kind = f"string_{kind}"  # pydantic takes text after a validator for a list
    if kind == "string_too_short" and context.get("min_length") == 1:
        return "The text is empty. Use at least 1 character."
    if kind in _SENTENCES:
        return _SENTENCES[kind].format_map(context)
    if kind == "string_pattern_mismatch":
        return _reject(error, _describe_pattern(str(context.get("pattern", ""))), with_value)
    if kind in _ALLOWED:
        words = {name: str(value).replace("'", "") for name, value in context.items()}
        return _reject(error, _ALLOWED[kind].format_map(words), with_value)
    return _complete_sentence(str(error["msg"]))


def format_value(value: object) -> str:
    """Return a value for a sentence: one line of at most `VALUE_MAX` characters, printable, valid UTF-8."""
    formatter = _FORMATTERS.get(type(value))
    return "The value" if formatter is None else formatter(value)


def _format_string(value: Any) -> str:
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in value[:VALUE_MAX]
    )
    return f'"{shown[:VALUE_MAX]}{"..." if max(len(shown), len(value)) > VALUE_MAX else ""}"'


def _format_integer(value: Any) -> str:
    # Python refuses to write an integer of more than 4,300 digits.
    return str(value) if value.bit_length() < 3 * VALUE_MAX else "The number"


_FORMATTERS: dict[type, Callable[[Any], str]] = {
    str: _format_string,
    int: _format_integer,
    float: repr,
    bool: lambda value: str(value).lower(),
    type(None): lambda _: "null",
    list: lambda _: "A list",
    tuple: lambda _: "A list",
    dict: lambda _: "A JSON object",
}


def _reject(error: Mapping[str, Any], allowed: str, with_value: bool) -> str:
    location: Sequence[str | int] = error.get("loc", ())
    is_shown = with_value and not any(_SECRET.search(str(part)) for part in location)
    return f"{format_value(error['input']) if is_shown else 'The value'} is not valid. Use {allowed}."


def _format_field(error: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in error.get("loc", ()))


def _describe_pattern(pattern: str) -> str:
    return _PATTERNS.get(pattern, f"text of the form {pattern}")


def _complete_sentence(message: str) -> str:
    message = message.removeprefix("Value error, ").replace("Input should", "must")
    if message.startswith(("must ", "should ")):
        message = f"The value {message}"
    return message if message.endswith((".", "!", "?")) else f"{message}."
