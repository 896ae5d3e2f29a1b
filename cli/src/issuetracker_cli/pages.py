"""Fetch lists of the API page by page."""

from typing import Any

from issuetracker_cli.client import call
from issuetracker_cli.output import print_warning

PAGE = 100


def fetch(path: str, limit: int, **filters: str | list[str]) -> list[dict[str, Any]]:
    """Return at most `limit` items of a list. Print the notice of a search on standard error."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str | list[str]] = {}
    while len(items) < limit:
        page = call("GET", path, params={**filters, **cursor, "limit": min(PAGE, limit - len(items))})
        items += page["items"]
        if notice := page.get("notice"):
            print_warning(notice)
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    return items
