"""Text types of requests. PostgreSQL stores no NUL characters."""

from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from contracts.validation import HTTP_URL_PATTERN, format_value

NOT_NUL_PATTERN = r"^[^\x00]*$"
NOT_BLANK_PATTERN = r"^[^\x00]*[^\s\x00][^\x00]*$"
"""Patterns for the OpenAPI document: any text, and text that is not blank. JSON Schema cannot strip spaces."""

_HTTP_URL = TypeAdapter(AnyHttpUrl)


def _reject_nul(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("string_nul", "The text contains a NUL character. Remove it.")
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
NOT_BLANK = Field(json_schema_extra={"pattern": NOT_BLANK_PATTERN})
HttpUrl = Annotated[
    str,
    StringConstraints(pattern=HTTP_URL_PATTERN),
    AfterValidator(_check_http_url),
    Field(json_schema_extra={"format": "uri"}),
]
