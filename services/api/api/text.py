"""Text types of requests. PostgreSQL stores no NUL characters."""

import re
from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from contracts.validation import HTTP_URL_PATTERN, format_value

NOT_NUL_PATTERN = r"^[^\x00]*$"
_INVISIBLE = (
    # Controls and blanks, and two blank symbols: the Braille pattern without dots, and a musical null note head.
    r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2800\u3000\ufffe\uffff\U0001d159"
    # Default_Ignorable_Code_Point (https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt), such
    # as joiners, marks of the direction, variation selectors and Hangul fillers. Interlinear annotations follow.
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters without a glyph, for a character class of a regular expression."""
NOT_BLANK_PATTERN = re.sub(
    # JavaScript has no escapes of eight digits.
    r"\\U(\w{8})",
    lambda escape: chr(int(escape[1], 16)),
    rf"^[^\x00]*[^{_INVISIBLE}][^\x00]*$",
)
"""Patterns for the OpenAPI document: any text, and text with a visible character. JSON Schema cannot strip it."""

_VISIBLE_CHARACTER = re.compile(f"[^{_INVISIBLE}]")

_HTTP_URL = TypeAdapter(AnyHttpUrl)


def _reject_nul(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("string_nul", "The text contains a NUL character. Remove it.")
    return value


def _require_visible(value: str) -> str:
    if _VISIBLE_CHARACTER.search(value) is None:
        shown = {"value": format_value(value)}
        raise PydanticCustomError(
            "string_invisible", "{value} has no visible character. Use at least 1 visible character.", shown
        )
    return value


def _check_http_url(value: str) -> str:
    try:
        _HTTP_URL.validate_python(value)
    except ValidationError:
        shown = {"value": format_value(value)}
        raise PydanticCustomError(
            "value_error", "{value} is not valid. Use an http or https URL.", shown
        ) from None
    return value  # unchanged, not normalized


NOT_NUL = AfterValidator(_reject_nul)
"""Belongs after the length constraint: pydantic names that rule by its input type."""
NOT_NUL_SCHEMA = Field(json_schema_extra={"pattern": NOT_NUL_PATTERN})
VISIBLE = AfterValidator(_require_visible)
"""Belongs together with `NOT_BLANK`, which describes it in the OpenAPI document."""
NOT_BLANK = Field(json_schema_extra={"pattern": NOT_BLANK_PATTERN})
HttpUrl = Annotated[
    str,
    StringConstraints(pattern=HTTP_URL_PATTERN),
    AfterValidator(_check_http_url),
    Field(json_schema_extra={"format": "uri"}),
]
