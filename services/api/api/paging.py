"""Keyset pagination for every list: a cursor holds the end of a page and its query (AIP-158, RFC 8288)."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Annotated, Any, Protocol, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.problems import invalid

Row = TypeVar("Row")
Key = TypeVar("Key")


class HasId(Protocol):
    """A row of a list sorted by id."""

    @property
    def id(self) -> UUID:
        """A unique id; newer rows have greater ids."""


RowWithId = TypeVar("RowWithId", bound=HasId)

NEWEST_ID = UUID(int=2**128 - 1)
"""The greatest id, which is newer than every row; the first page of a list starts before it."""
_NOT_IN_QUERY = frozenset({"cursor", "limit", "total"})
"""Parameters that may differ from page to page."""
CURSOR_MAX = 500
"""Characters. Real cursors have about a hundred."""


class PageQuery(BaseModel):
    """Query parameters of a list; subclasses add filters."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of items in a page")] = 50
    cursor: Annotated[
        str | None,
        Field(
            max_length=CURSOR_MAX,
            description="`next_cursor` of the previous page; use the same filters and sort order",
        ),
    ] = None


def read_cursor(request: Request, cursor: str | None, key: type[Key]) -> Key | None:
    """Return the last sort key of the previous page, or None for the first page.

    `key` is the tuple type of the sort order. An invalid cursor, or one of another query, raises a 422 error.
    """
    if cursor is None:
        return None
    try:
        query, *values = json.loads(urlsafe_b64decode(f"{cursor}=="))
        if query != _query_id(request):
            raise invalid(
                ("query", "cursor"),
                "cursor_of_another_query",
                "The cursor belongs to other filters or another sort order. Repeat these, or omit the cursor.",
            )
        return TypeAdapter(key).validate_python(values)
    except (ValueError, TypeError, RecursionError, ValidationError):
        raise invalid(
            ("query", "cursor"), "cursor", "The cursor is not valid. Use next_cursor of the previous page."
        ) from None


def write_cursor(request: Request, key: Sequence[Any]) -> str:
    """Return the cursor of the page after the row with this sort key."""
    values = json.dumps([_query_id(request), *key], default=str)
    return urlsafe_b64encode(values.encode()).decode().rstrip("=")


def cut_page(
    request: Request, response: Response, rows: Sequence[Row], limit: int, key: Callable[[Row], Sequence[Any]]
) -> tuple[list[Row], str | None]:
    """Return at most `limit` rows and the cursor of the next page, or None on the last page.

    `rows` has `limit` + 1 rows if another page follows. The `Link` header gets the URL of the next page.
    """
    page = list(rows[:limit])
    if len(rows) <= limit:
        return page, None
    cursor = write_cursor(request, key(page[-1]))
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    url = f"{request.url.path}?{urlencode([*parameters, ('cursor', cursor)])}"
    response.headers["Link"] = f'<{url}>; rel="next"'
    return page, cursor


async def page_by_id(
    request: Request,
    response: Response,
    query: PageQuery,
    read: Callable[[UUID, int], Awaitable[Sequence[RowWithId]]],
) -> tuple[list[RowWithId], str | None]:
    """Return a page of a list sorted by id, and the cursor of the next page.

    `read` takes the id before which the page starts, and the maximum number of rows.
    """
    after = read_cursor(request, query.cursor, tuple[UUID])
    rows = await read(after[0] if after else NEWEST_ID, query.limit + 1)
    return cut_page(request, response, rows, query.limit, lambda row: [row.id])


def _query_id(request: Request) -> str:
    """Return a digest of the path, filters and sort order of a list."""
    parameters = sorted(item for item in request.query_params.multi_items() if item[0] not in _NOT_IN_QUERY)
    return sha256(json.dumps([request.url.path, parameters]).encode()).hexdigest()[:16]
