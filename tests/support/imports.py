"""Import files and their operations."""

import json
from typing import Any

import httpx

from tests.support.processes import Api
from tests.support.waiting import wait_until

NDJSON = "application/x-ndjson"
CSV = "text/csv"
JSON = "application/json"
IMPORTS = "/api/v1/imports"


def row(number: int, **fields: Any) -> dict[str, Any]:
    """Return a row of an NDJSON import."""
    symptom = ("crashes", "is slow", "shows an error", "looks wrong", "is empty")[number % 5]
    place = ("The login page", "The export", "The search", "The invoice", "The settings menu")[number // 5 % 5]
    return {
        "source": "tracker:shop",
        "external_id": str(number),
        "title": f"{place} {symptom} ({number})",
        "description": f"{place} {symptom} since the release of last week. Step {number} shows it.",
        "priority": ("low", "medium", "high", "critical")[number % 4],
        "status": ("open", "closed")[number % 2],
        **fields,
    }


def ndjson(rows: list[Any]) -> bytes:
    """Return an NDJSON file of these rows. A string is written unchanged as a line."""
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows).encode()


def post_import(
    api: Api, body: bytes, media_type: str = NDJSON, headers: Any = None, **query: Any
) -> httpx.Response:
    """Post an import and return the response."""
    return api.client.post(
        IMPORTS, content=body, params=query, headers={"content-type": media_type, **(headers or {})}
    )


def wait_for_operation(api: Api, accepted: httpx.Response) -> dict[str, Any]:
    """Wait until an import has finished and return its operation."""
    assert accepted.status_code == 202, accepted.text
    url = accepted.headers["location"]

    def is_finished() -> bool:
        return bool(api.client.get(url).json().get("state") == "finished")  # a 503 during an outage has no state

    wait_until(is_finished, "the import to finish")
    operation: dict[str, Any] = api.client.get(url).json()
    return operation


def import_file(api: Api, body: bytes, media_type: str = NDJSON, **query: Any) -> dict[str, Any]:
    """Import a file and return its finished operation."""
    return wait_for_operation(api, post_import(api, body, media_type, **query))


def row_counts(operation: dict[str, Any]) -> dict[str, int]:
    """Return the counts of an operation that are not 0."""
    names = ("created", "updated", "unchanged", "skipped", "failed")
    return {name: operation[name] for name in names if operation[name]}
