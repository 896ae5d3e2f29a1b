"""A token with `issues:write` alone learns nothing that was stored before its request."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from psycopg2.extras import Json

from api.access.open_paths import SAFE_METHODS
from contracts.ids import new_id
from tests.integration.test_dead_letters import add_dead_job
from tests.integration.test_issues_api import assert_problem
from tests.support.access import ADMIN, Tokens, bearer
from tests.support.database import Database
from tests.support.imports import NDJSON
from tests.support.processes import Api
from tests.support.routes import endpoints
from tests.support.waiting import wait_until

CANARY = "canary"
"""Part of every text that is stored before the requests."""
EXTERNAL = {"source": "jira:shop", "id": "1207"}
OTHER_PATHS = (
    *("/api/v1/tokens", "/api/v1/webhooks", "/api/v1/tags", "/api/v1/queues", "/api/v1/pauses"),
    *("/api/v1/session", "/api/v1/erasures", "/api/v1/schedules"),
)
"""Changes that `issues:write` does not authorize, and the session, which has no stored text."""

REQUESTS: dict[str, tuple[Any, int, set[str]]] = {
    "POST /api/v1/issues": ({"title": "t", "external": EXTERNAL}, 409, set()),
    "PATCH /api/v1/issues/{issue_id}": ({}, 200, {"id"}),
    "PUT /api/v1/issues/{issue_id}/tags": ({"tags": ["performance"]}, 200, {"id", "tags"}),
    "POST /api/v1/issues/{issue_id}/suggestions/accept": ({"tags": ["bug"]}, 200, {"id"}),
    "POST /api/v1/issues/{issue_id}/suggestions/reject": ({"tags": ["performance"]}, 422, set()),
    "POST /api/v1/issues/{issue_id}/suggestions/accept-all": (None, 200, {"id"}),
    "POST /api/v1/issues/{issue_id}/enrichments": (None, 409, set()),
    "POST /api/v1/issues/{issue_id}/enrichments/{job_id}/cancel": (None, 200, {"id", "issue_id", "state"}),
    "POST /api/v1/dead-letters/replay": ({"error": "ProviderError"}, 202, {"dry_run", "replayed"}),
    "POST /api/v1/dead-letters/{letter_id:uuid}/replay": (None, 202, {"id"}),
    "POST /api/v1/dead-letters/{letter_id:uuid}/discard": ({"reason": "r"}, 200, {"id"}),
    "POST /api/v1/models/train": ({"project": "acme/shop"}, 202, {"project"}),
    "POST /api/v1/models/rollback": ({"project": "acme/shop"}, 409, set()),
    "POST /api/v1/imports": ("import", 202, set()),
    "DELETE /api/v1/operations/{operation_id}": (None, 404, set()),
    "DELETE /api/v1/issues/{issue_id}": (None, 204, set()),
}
"""Each change: its body, its status, and the members of its response, or none for errors and new objects."""


@pytest.fixture
def writer(closed_api: Api, tokens: Tokens) -> Iterator[httpx.Client]:
    """Yield a client that may only write."""
    token = tokens.make("writer", "issues:write")["token"]
    with httpx.Client(base_url=closed_api.client.base_url, headers=bearer(token), timeout=60) as client:
        yield client


@pytest.fixture
def ids(closed_api: Api, tokens: Tokens, database: Database) -> dict[str, str]:
    """Return the ids of an issue with suggestions, its run, and a dead letter, whose texts have the canary."""
    del tokens
    body = {"title": f"{CANARY} title", "description": f"{CANARY} text", "external": EXTERNAL}
    issue_id = closed_api.client.post("/api/v1/issues", json=body, headers=bearer(ADMIN)).json()["id"]
    job_id = database.one("UPDATE job SET last_error = %s RETURNING id::text", f"{CANARY} error")
    database.query(
        "INSERT INTO enrichment (job_id, issue_id, summary, tags, provenance) VALUES (%s, %s, %s, %s, '{}')",
        job_id,
        issue_id,
        f"{CANARY} summary",
        Json([{"name": "bug", "confidence": 0.9}, {"name": "frontend", "confidence": 0.7}]),
    )
    letter_id = str(add_dead_job(database, f"ProviderError: {CANARY}"))
    return {"issue_id": issue_id, "job_id": job_id, "letter_id:uuid": letter_id, "operation_id": str(new_id())}


def test_table_has_every_change_that_the_scope_authorizes() -> None:
    changes = {
        str(endpoint)
        for endpoint in endpoints()
        if endpoint.method not in SAFE_METHODS and not endpoint.path.startswith(OTHER_PATHS)
    }

    assert changes == set(REQUESTS)


def test_write_scope_alone_learns_nothing_from_any_change(
    writer: httpx.Client, ids: dict[str, str], closed_api: Api
) -> None:
    learned: dict[str, list[str]] = {}
    for endpoint, (body, status, members) in REQUESTS.items():
        method, path = endpoint.split(" ")
        for name, value in ids.items():
            path = path.replace(f"{{{name}}}", value)
        if body == "import":
            response = writer.post(path, content=b'{"title": "t"}\n', headers={"Content-Type": NDJSON})
        else:
            response = writer.request(method, path, json=body)

        assert response.status_code == status, (endpoint, response.text)
        if members:
            assert set(response.json()) == members, endpoint
        shown = f"{response.headers} {response.text}"
        learned[endpoint] = [word for word in (CANARY, "frontend", "etag", "existing_id") if word in shown]

    assert not any(learned.values()), learned
    reader = closed_api.client.get(f"/api/v1/issues/{ids['issue_id']}", headers=bearer(ADMIN))
    assert_problem(reader, 404)


def test_cancellation_of_import_without_read_scope_returns_id_and_state(
    writer: httpx.Client, database: Database
) -> None:
    insert = "INSERT INTO operation (id, format, is_dry_run, actor) VALUES (%s, 'csv', false, %s)"
    responses: list[httpx.Response] = []

    def is_cancelled() -> bool:
        operation_id = new_id()
        database.query(insert, operation_id, CANARY)
        responses.append(writer.delete(f"/api/v1/operations/{operation_id}"))
        return responses[-1].status_code != 409

    # The API may end an import, which has no rows, before it is cancelled.
    wait_until(is_cancelled, "a cancellation")

    response = responses[-1]
    assert response.status_code == 200, response.text
    assert set(response.json()) == {"id", "state"}
    assert response.json()["state"] == "cancelled"


@pytest.mark.parametrize("body", [{"dry_run": True}, {"q": CANARY}, {"q": CANARY, "dry_run": True}])
def test_replay_of_matching_text_requires_read_scope(
    body: dict[str, Any], writer: httpx.Client, ids: dict[str, str], database: Database
) -> None:
    problem = assert_problem(writer.post("/api/v1/dead-letters/replay", json=body), 403)

    assert str(problem["detail"]).endswith("requires the scope issues:read.")
    assert database.one("SELECT state FROM job WHERE id = %s", ids["letter_id:uuid"]) == "dead"


def test_condition_of_write_scope_gets_no_etag(writer: httpx.Client, ids: dict[str, str]) -> None:
    response = writer.patch(f"/api/v1/issues/{ids['issue_id']}", json={}, headers={"If-Match": '"x"'})

    assert_problem(response, 412)
    assert "etag" not in response.headers
