"""Files to import, and following what becomes of them."""

import json
from typing import Any

import httpx

from devstack.network import wait_until
from tests.support.processes import Api

NDJSON = "application/x-ndjson"
CSV = "text/csv"
JSON = "application/json"
IMPORTS = "/api/v1/imports"


def row(number: int, **fields: Any) -> dict[str, Any]:
    """Return a row of our own, as NDJSON has it."""
    says = ("crashes", "is slow", "shows an error", "looks wrong", "is empty")[number % 5]
    where = ("The login page", "The export", "The search", "The invoice", "The settings menu")[number // 5 % 5]
    return {
        "source": "tracker:shop",
        "external_id": str(number),
        "title": f"{where} {says} ({number})",
        "description": f"{where} {says} since the release of last week. Step {number} shows it.",
        "priority": ("low", "medium", "high", "critical")[number % 4],
        "status": ("open", "closed")[number % 2],
        **fields,
    }


def ndjson(rows: list[Any]) -> bytes:
    """Return a file of these rows; a string stands for a line as it is."""
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows).encode()


def send(api: Api, body: bytes, media_type: str = NDJSON, headers: Any = None, **query: Any) -> httpx.Response:
    """Return the answer to an import."""
    return api.client.post(
        IMPORTS, content=body, params=query, headers={"content-type": media_type, **(headers or {})}
    )


def operation_of(api: Api, accepted: httpx.Response, timeout_s: float = 60) -> dict[str, Any]:
    """Return what became of an import, once it is over."""
    assert accepted.status_code == 202, accepted.text
    url = accepted.headers["location"]

    def is_over() -> bool:
        return bool(api.client.get(url).json().get("state") == "finished")  # or a 503, in an outage

    wait_until(is_over, timeout_s, "the import")
    operation: dict[str, Any] = api.client.get(url).json()
    return operation


def imported(api: Api, body: bytes, media_type: str = NDJSON, **query: Any) -> dict[str, Any]:
    """Import a file and return what became of it."""
    return operation_of(api, send(api, body, media_type, **query))


def counts(operation: dict[str, Any]) -> dict[str, int]:
    """Return how many rows went which way, without those that none did."""
    names = ("created", "updated", "unchanged", "skipped", "failed")
    return {name: operation[name] for name in names if operation[name]}
