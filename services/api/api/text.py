"""Types of text that requests hold. PostgreSQL stores no NUL, and half a character is no UTF-8."""

from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, Field, StringConstraints, TypeAdapter
from pydantic_core import PydanticCustomError

ANYTHING = r"^[^\x00]*$"
SOMETHING = r"^[^\x00]*[^\s\x00][^\x00]*$"
"""What the OpenAPI document says of text that may be blank, and that may not: JSON Schema has no stripping."""

_HTTP_URL = TypeAdapter(AnyHttpUrl)


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise PydanticCustomError("string_nul", "String should not contain NUL bytes")
    return value


def _http_url(value: str) -> str:
    _HTTP_URL.validate_python(value)
    return value  # as it was written


NOT_NUL = AfterValidator(_no_nul)
"""After the length: pydantic names that rule by what comes before."""
AS_SENT = Field(json_schema_extra={"pattern": ANYTHING})
NOT_BLANK = Field(json_schema_extra={"pattern": SOMETHING})
HttpUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[!-~]+$"),
    AfterValidator(_http_url),
    Field(json_schema_extra={"format": "uri"}),
]
