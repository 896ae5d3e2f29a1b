"""The opaque cursor of keyset pages: where the page before ended."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


def encode_cursor(last_id: UUID) -> str:
    """Return the cursor of the page after the issue `last_id`."""
    return urlsafe_b64encode(last_id.bytes).decode().rstrip("=")


def _decode(value: object) -> object:
    try:
        return UUID(bytes=urlsafe_b64decode(f"{value}=="))
    except ValueError:
        raise PydanticCustomError("cursor", "Cursor should be one that this API gave out") from None


Cursor = Annotated[UUID, BeforeValidator(_decode), WithJsonSchema({"type": "string"})]
"""A query parameter that decodes to the id of the last issue of the page before."""
