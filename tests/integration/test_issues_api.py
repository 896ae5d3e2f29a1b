"""Issues over HTTP, as a client sees them."""

import contextlib
import json
import socket

import httpx
import pytest

from tests.support.database import Database
from tests.support.processes import Api

PROBLEM = "application/problem+json"


def assert_problem(response: httpx.Response, status: int) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    body: dict[str, object] = response.json()
    assert body["status"] == status
    assert body["detail"]
    return body


def test_post_returns_issue_and_location(api: Api) -> None:
    response = api.post("Login fails", description="Since yesterday.", priority="high")

    assert response.status_code == 201
    issue = response.json()
    assert response.headers["location"] == f"/api/v1/issues/{issue['id']}"
    assert issue["title"] == "Login fails"
    assert issue["description"] == "Since yesterday."
    assert (issue["priority"], issue["status"]) == ("high", "open")
    assert (issue["ai_summary"], issue["tags"]) == (None, [])
    assert issue["enrichment"]["status"] == "pending"
    stored = api.client.get(response.headers["location"]).json()
    assert {**stored, "enrichment": None} == {**issue, "enrichment": None}


def test_post_with_title_only_strips_title_and_uses_defaults(api: Api) -> None:
    issue = api.post("  Login fails \n").json()

    assert (issue["title"], issue["description"], issue["priority"]) == ("Login fails", "", "medium")


def test_post_with_longest_title_and_description_stores_them_unchanged(api: Api) -> None:
    title, description = "é" * 255, "\U0001f41e" * 65_536

    issue = api.post(title, description=description).json()

    assert (issue["title"], issue["description"]) == (title, description)


@pytest.mark.parametrize(
    ("body", "pointer", "rule"),
    [
        ({}, "#/title", "missing"),
        ({"title": ""}, "#/title", "string_too_short"),
        ({"title": "   "}, "#/title", "string_too_short"),
        ({"title": "t" * 513}, "#/title", "string_too_long"),
        ({"title": 7}, "#/title", "string_type"),
        ({"title": "a\x00b"}, "#/title", "string_nul"),
        ({"title": "t", "description": "a\x00b"}, "#/description", "string_nul"),
        ({"title": "t", "description": "d" * 65_537}, "#/description", "string_too_long"),
        ({"title": "t", "description": None}, "#/description", "string_type"),
        ({"title": "t", "priority": "urgent"}, "#/priority", "enum"),
        ({"title": "t", "a/b": 1}, "#/a~1b", "extra_forbidden"),
        ([], "#", "model_attributes_type"),
    ],
)
def test_post_with_invalid_field_returns_pointer_and_rule(
    api: Api, database: Database, body: object, pointer: str, rule: str
) -> None:
    problem = assert_problem(api.client.post("/api/v1/issues", json=body), 422)

    assert isinstance(problem["errors"], list)
    assert [(error["pointer"], error["rule"]) for error in problem["errors"]] == [(pointer, rule)]
    assert database.one("SELECT count(*) FROM issue") == 0


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_post_with_other_content_type_is_rejected_with_415(api: Api, content_type: str) -> None:
    response = api.client.post("/api/v1/issues", content=b'{"title": "t"}', headers={"content-type": content_type})

    assert_problem(response, 415)


@pytest.mark.parametrize("body", [b'{"title": ', b"\xff\xfe", b"{'title': 't'}", b'{"title": "\xff"}'])
def test_post_with_invalid_json_is_rejected_with_400(api: Api, body: bytes) -> None:
    response = api.client.post("/api/v1/issues", content=body, headers={"content-type": "application/json"})

    assert_problem(response, 400)


@pytest.mark.parametrize("chunked", [False, True])
def test_post_with_10_mb_body_is_rejected_with_413(api: Api, chunked: bool) -> None:
    body = json.dumps({"title": "t", "description": "d" * 10_000_000}).encode()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    payload = f"{len(body):x}\r\n".encode() + body if chunked else body

    # Use a socket: HTTP clients report a response before the end of the body as an error.
    with socket.create_connection((api.client.base_url.host, api.client.base_url.port or 0)) as connection:
        headers = ["Host: localhost", "Connection: close", "Content-Type: application/json", length]
        connection.sendall("\r\n".join(["POST /api/v1/issues HTTP/1.1", *headers, "", ""]).encode())
        with contextlib.suppress(ConnectionError):
            connection.sendall(payload)
        head, _, response = connection.makefile("rb").read(2000).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(response)["detail"] == "The body has more than 1048576 bytes. Send a smaller one."


def test_post_with_many_unknown_fields_returns_short_response(api: Api) -> None:
    response = api.client.post("/api/v1/issues", json={f"field{number}": 0 for number in range(100)})

    problem = assert_problem(response, 422)
    assert len(response.content) < 10_000
    assert str(problem["detail"]).endswith("81 more errors are not listed.")


def test_unknown_issue_path_or_method_returns_problem(api: Api) -> None:
    assert_problem(api.client.get("/api/v1/issues/01a20614-800e-771f-862f-526a86f415ac"), 404)
    assert_problem(api.client.get("/api/v1/issues/7"), 422)
    assert_problem(api.client.get("/nowhere"), 404)
    assert_problem(api.client.put("/api/v1/issues"), 405)


def test_list_pages_are_sorted_newest_first(api: Api) -> None:
    titles = [f"Issue {number}" for number in range(5)]
    for title in titles:
        api.post(title)

    seen, url = [], "/api/v1/issues?limit=2"
    while url:
        page = api.client.get(url)
        seen += [issue["title"] for issue in page.json()["items"]]
        url = page.links["next"]["url"] if "next" in page.links else ""
        assert (page.json()["next_cursor"] is None) == (url == "")

    assert seen == titles[::-1]


def test_list_pages_with_new_issue_do_not_shift(api: Api) -> None:
    for number in range(4):
        api.post(f"Issue {number}")
    first = api.client.get("/api/v1/issues", params={"limit": 2}).json()

    api.post("Newer")
    second = api.client.get("/api/v1/issues", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [issue["title"] for issue in second["items"]] == ["Issue 1", "Issue 0"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=%FF", "cursor="])
def test_list_with_invalid_page_parameter_returns_pointer(api: Api, query: str) -> None:
    problem = assert_problem(api.client.get(f"/api/v1/issues?{query}"), 422)

    assert isinstance(problem["errors"], list)
    assert problem["errors"][0]["pointer"] == f"query.{query.partition('=')[0]}"


def test_post_with_failing_commit_returns_500(api: Api, database: Database) -> None:
    """A response before the commit would be 201 even though the commit fails."""
    database.query("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'the disk is full'; END $$;
        CREATE CONSTRAINT TRIGGER refuse_at_commit AFTER INSERT ON issue
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    try:
        problem = assert_problem(api.post("Never stored"), 500)
    finally:
        database.query("DROP TRIGGER refuse_at_commit ON issue; DROP FUNCTION refuse()")

    assert "disk" not in str(problem)
    assert database.one("SELECT count(*) FROM issue") == 0
    assert database.one("SELECT count(*) FROM job") == 0


def test_post_with_201_is_stored_immediately(api: Api, database: Database) -> None:
    issue_id = api.post("Stored").json()["id"]

    assert database.one("SELECT title FROM issue WHERE id = %s", issue_id) == "Stored"
    assert database.one("SELECT task FROM job WHERE issue_id = %s", issue_id) == "app.tasks.issues.enrich_issue"


def test_probes_and_docs_return_200(api: Api) -> None:
    assert api.client.get("/livez").json() == {"status": "live"}
    assert api.client.get("/readyz").json() == {"status": "ready", "database": "ok", "broker": "ok"}
    assert "swagger" in api.client.get("/docs").text


def test_metrics_are_labelled_by_route_template(api: Api) -> None:
    issue = api.post().json()
    api.client.get(f"/api/v1/issues/{issue['id']}")

    metrics = api.client.get("/metrics").text

    assert 'route="/api/v1/issues/{issue_id}",status_class="2xx"' in metrics
    assert issue["id"] not in metrics
