"""Keyset pages for every list: a cursor says where a page ended, and of which query (AIP-158, RFC 8288)."""

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
    """A row of a list that is ordered by id."""

    @property
    def id(self) -> UUID:
        """Unique, and later for what is newer."""


RowWithId = TypeVar("RowWithId", bound=HasId)

NEWEST_ID = UUID(int=2**128 - 1)
"""The id that the first page of a list begins before: no id is newer."""
CURSOR_MAX = 500
"""Characters; ours have some hundred."""


class PageQuery(BaseModel):
    """The query parameters of a list; a list with filters adds its own in a subclass."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100, description="Items of a page")] = 50
    cursor: Annotated[
        str | None,
        Field(
            max_length=CURSOR_MAX, description="`next_cursor` of the page before, with the same filters and sort"
        ),
    ] = None


def read_cursor(request: Request, cursor: str | None, key: type[Key]) -> Key | None:
    """Return the sort key that the page before ended with; None for the first page.

    `key` is the tuple type of the sort in use. A cursor of another query, or that nobody gave out, is a 422.
    """
    if cursor is None:
        return None
    try:
        query, *values = json.loads(urlsafe_b64decode(f"{cursor}=="))
        if query != _query_id(request):
            raise invalid(
                ("query", "cursor"),
                "cursor_of_another_query",
                "Cursor belongs to other filters or another sort: repeat them, or begin without a cursor",
            )
        return TypeAdapter(key).validate_python(values)
    except (ValueError, TypeError, RecursionError, ValidationError):
        raise invalid(("query", "cursor"), "cursor", "Cursor should be one that this API gave out") from None


def cut_page(
    request: Request, response: Response, rows: Sequence[Row], limit: int, key: Callable[[Row], Sequence[Any]]
) -> tuple[list[Row], str | None]:
    """Return a page of the rows, of which there is one more than `limit` if another page follows, and its cursor.

    A `Link` header names the next page, with the query's own parameters.
    """
    page = list(rows[:limit])
    if len(rows) <= limit:
        return page, None
    values = json.dumps([_query_id(request), *key(page[-1])], default=str)
    cursor = urlsafe_b64encode(values.encode()).decode().rstrip("=")
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
    """Return a page of a list whose order is that of its ids, and its cursor.

    `read` takes the id that its rows are older than, and how many rows to return at most.
    """
    after = read_cursor(request, query.cursor, tuple[UUID])
    rows = await read(after[0] if after else NEWEST_ID, query.limit + 1)
    return cut_page(request, response, rows, query.limit, lambda row: [row.id])


def _query_id(request: Request) -> str:
    """Return a digest of what decides which rows a list has, and in which order."""
    decisive = sorted(item for item in request.query_params.multi_items() if item[0] not in {"cursor", "limit"})
    return sha256(json.dumps([request.url.path, decisive]).encode()).hexdigest()[:16]
