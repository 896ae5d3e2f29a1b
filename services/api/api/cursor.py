"""The opaque cursor of keyset pages: where the page before ended."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from starlette.requests import Request


def encode_cursor(last_id: UUID) -> str:
    """Return the cursor of the page after the row `last_id`."""
    return urlsafe_b64encode(last_id.bytes).decode().rstrip("=")


def next_link(request: Request, limit: int, cursor: str) -> str:
    """Return the `Link` header (RFC 8288) that names the next page."""
    return f'<{request.url.path}?{urlencode({"limit": limit, "cursor": cursor})}>; rel="next"'


def _decode(value: object) -> object:
    try:
        return UUID(bytes=urlsafe_b64decode(f"{value}=="))
    except ValueError:
        raise PydanticCustomError("cursor", "Cursor should be one that this API gave out") from None


Cursor = Annotated[UUID, BeforeValidator(_decode), WithJsonSchema({"type": "string"})]
"""A query parameter that decodes to the last id of the page before."""
