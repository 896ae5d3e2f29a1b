"""Issues over HTTP, as a client sees them."""

import contextlib
import json
import socket

import httpx
import pytest

from tests.support.database import Database
from tests.support.processes import Api

PROBLEM = "application/problem+json"


def assert_problem(answer: httpx.Response, status: int) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body: dict[str, object] = answer.json()
    assert body["status"] == status
    assert body["detail"]
    return body


def test_post_answers_the_issue_and_where_it_is(api: Api) -> None:
    answer = api.post("Login fails", description="Since yesterday.", priority="high")

    assert answer.status_code == 201
    issue = answer.json()
    assert answer.headers["location"] == f"/api/v1/issues/{issue['id']}"
    assert issue["title"] == "Login fails"
    assert issue["description"] == "Since yesterday."
    assert (issue["priority"], issue["status"]) == ("high", "open")
    assert (issue["ai_summary"], issue["tags"]) == (None, [])
    assert issue["enrichment"]["status"] == "pending"
    stored = api.client.get(answer.headers["location"]).json()
    assert {**stored, "enrichment": None} == {**issue, "enrichment": None}


def test_title_is_enough_and_is_stripped(api: Api) -> None:
    issue = api.post("  Login fails \n").json()

    assert (issue["title"], issue["description"], issue["priority"]) == ("Login fails", "", "medium")


def test_longest_title_and_description_are_stored_whole(api: Api) -> None:
    title, description = "é" * 255, "\U0001f41e" * 65_536

    issue = api.post(title, description=description).json()

    assert (issue["title"], issue["description"]) == (title, description)


@pytest.mark.parametrize(
    ("body", "pointer", "rule"),
    [
        ({}, "#/title", "missing"),
        ({"title": ""}, "#/title", "string_too_short"),
        ({"title": "   "}, "#/title", "string_too_short"),
        ({"title": "t" * 256}, "#/title", "string_too_long"),
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
def test_bad_field_is_named_with_its_rule(
    api: Api, database: Database, body: object, pointer: str, rule: str
) -> None:
    problem = assert_problem(api.client.post("/api/v1/issues", json=body), 422)

    assert isinstance(problem["errors"], list)
    assert [(error["pointer"], error["rule"]) for error in problem["errors"]] == [(pointer, rule)]
    assert database.one("SELECT count(*) FROM issue") == 0


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_content_types_are_refused(api: Api, content_type: str) -> None:
    answer = api.client.post("/api/v1/issues", content=b'{"title": "t"}', headers={"content-type": content_type})

    assert_problem(answer, 415)


@pytest.mark.parametrize("body", [b'{"title": ', b"\xff\xfe", b"{'title': 't'}", b'{"title": "\xff"}'])
def test_what_is_no_json_is_refused(api: Api, body: bytes) -> None:
    answer = api.client.post("/api/v1/issues", content=body, headers={"content-type": "application/json"})

    assert_problem(answer, 400)


@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_10_mb_is_refused(api: Api, chunked: bool) -> None:
    body = json.dumps({"title": "t", "description": "d" * 10_000_000}).encode()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    sent = f"{len(body):x}\r\n".encode() + body if chunked else body

    # By hand: the answer comes before the body has been read, which an HTTP client takes for an error.
    with socket.create_connection((api.client.base_url.host, api.client.base_url.port or 0)) as connection:
        headers = ["Host: localhost", "Connection: close", "Content-Type: application/json", length]
        connection.sendall("\r\n".join(["POST /api/v1/issues HTTP/1.1", *headers, "", ""]).encode())
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        head, _, answer = connection.makefile("rb").read(2000).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(answer)["detail"] == "The body is over 1048576 bytes."


def test_a_body_of_nothing_but_unknown_fields_gets_a_short_answer(api: Api) -> None:
    answer = api.client.post("/api/v1/issues", json={f"field{number}": 0 for number in range(50_000)})

    problem = assert_problem(answer, 422)
    assert len(answer.content) < 10_000
    assert str(problem["detail"]).endswith("; and 49981 more")


def test_unknown_issue_path_and_method_are_problems(api: Api) -> None:
    assert_problem(api.client.get("/api/v1/issues/01a20614-800e-771f-862f-526a86f415ac"), 404)
    assert_problem(api.client.get("/api/v1/issues/7"), 422)
    assert_problem(api.client.get("/nowhere"), 404)
    assert_problem(api.client.put("/api/v1/issues"), 405)


def test_pages_run_from_the_newest_to_the_oldest(api: Api) -> None:
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


def test_an_issue_posted_between_two_pages_does_not_shift_them(api: Api) -> None:
    for number in range(4):
        api.post(f"Issue {number}")
    first = api.client.get("/api/v1/issues", params={"limit": 2}).json()

    api.post("Newer")
    second = api.client.get("/api/v1/issues", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [issue["title"] for issue in second["items"]] == ["Issue 1", "Issue 0"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=%FF", "cursor="])
def test_bad_page_parameters_are_named(api: Api, query: str) -> None:
    problem = assert_problem(api.client.get(f"/api/v1/issues?{query}"), 422)

    assert isinstance(problem["errors"], list)
    assert problem["errors"][0]["pointer"] == f"query.{query.partition('=')[0]}"


def test_answer_comes_after_the_commit(api: Api, database: Database) -> None:
    """A commit that fails must be an error: an API that answered before it would have said 201."""
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


def test_a_201_is_durable_at_once(api: Api, database: Database) -> None:
    issue_id = api.post("Stored").json()["id"]

    assert database.one("SELECT title FROM issue WHERE id = %s", issue_id) == "Stored"
    assert database.one("SELECT task FROM job WHERE issue_id = %s", issue_id) == "app.tasks.issues.enrich_issue"


def test_probes_and_docs_answer(api: Api) -> None:
    assert api.client.get("/livez").json() == {"status": "live"}
    assert api.client.get("/readyz").json() == {"status": "ready", "database": "ok", "broker": "ok"}
    assert "swagger" in api.client.get("/docs").text


def test_metrics_count_by_route_and_not_by_issue(api: Api) -> None:
    issue = api.post().json()
    api.client.get(f"/api/v1/issues/{issue['id']}")

    metrics = api.client.get("/metrics").text

    assert 'route="/api/v1/issues/{issue_id}",status_class="2xx"' in metrics
    assert issue["id"] not in metrics
