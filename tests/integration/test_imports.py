"""Issue imports: repeated, interrupted and with bad rows."""

import json
from typing import Any

import psycopg2
import pytest

from api.settings import MAX_BODY_BYTES
from contracts.ids import new_id
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.access import ADMIN, CLOSED, Tokens, bearer
from tests.support.database import Database
from tests.support.imports import (
    CSV,
    JSON,
    NDJSON,
    import_file,
    ndjson,
    post_import,
    row,
    row_counts,
    wait_for_operation,
)
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.waiting import wait_until

NO_DETAILS = dict.fromkeys(("created_at", "updated_at", "closed_at", "author", "assignee"))
FAST_POLL = {"DISPATCH_POLL_SECONDS": "0.1"}


def read_import_tables(database: Database) -> dict[str, Any]:
    """Return all rows that an import can change, without the operations."""
    return {table: database.query(f"SELECT * FROM {table} ORDER BY id") for table in ("issue", "audit_log")} | {
        "job": database.query("SELECT id, message, run_at, created_at FROM job ORDER BY id")
    }


def get_issue(api: Api, title: str) -> dict[str, Any]:
    (found,) = [item for item in api.client.get("/api/v1/issues").json()["items"] if item["title"] == title]
    return dict(found)


def test_import_of_same_file_twice_changes_nothing(api: Api, database: Database) -> None:
    body = ndjson([row(number) for number in range(1, 301)])

    first = import_file(api, body)

    assert row_counts(first) == {"created": 300}
    assert (first["total"], first["done"], first["errors"], first["format"]) == (300, 300, [], "ndjson")
    assert database.one("SELECT count(*) FROM issue JOIN job ON issue_id = issue.id") == 300
    (entry,) = database.query("SELECT action, actor, subject, detail FROM audit_log")
    assert (entry["action"], entry["actor"], entry["subject"]) == ("issues.imported", "anonymous", first["id"])
    assert entry["detail"] == {"format": "ndjson", "rows": 300}
    before = read_import_tables(database)

    second = import_file(api, body)

    assert row_counts(second) == {"unchanged": 300}
    assert read_import_tables(database) == before
    assert database.one("SELECT count(*) FROM import_row") == 0, "the rows of a completed import must be deleted"
    listed = api.client.get("/api/v1/operations", params={"limit": 1})
    assert [operation["id"] for operation in listed.json()["items"]] == [second["id"]]
    older = api.client.get(f"{listed.links['next']['url']}").json()
    assert [operation["id"] for operation in older["items"]] == [first["id"]]


def test_import_row_sets_fields_of_issue(api: Api) -> None:
    flat_row = {"title": " Login fails ", "source": "GitHub:Acme/Shop", "external_id": 7, "url": "https://e.org/7"}
    nested_row = {"title": "Export", "external": {"source": "jira", "id": "A-1"}, "project": "acme/shop"}
    minimal_row = {"title": "Search", "external_id": "9", "description": None}

    operation = import_file(
        api, ndjson([flat_row, nested_row, minimal_row]), source="by-query", project="acme/other"
    )

    assert row_counts(operation) == {"created": 3}
    assert get_issue(api, "Login fails")["external"] == {
        "source": "github:acme/shop",
        "id": "7",
        "url": "https://e.org/7",
        **NO_DETAILS,
    }
    assert get_issue(api, "Login fails")["project"] == "acme/other"
    assert (get_issue(api, "Export")["project"], get_issue(api, "Export")["external"]["source"]) == (
        "acme/shop",
        "jira",
    )
    found = get_issue(api, "Search")
    assert found["external"]["source"] == "by-query"
    assert (found["description"], found["status"], found["priority"]) == ("", "open", "medium")
    assert found["enrichment"]["status"] in {"pending", "queued"}


def test_import_with_changed_rows_updates_all_but_edited_fields(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1", "REENRICH_AFTER_SECONDS": "0"})
    new_worker({})
    rows = [row(number, status="open") for number in range(1, 6)]
    import_file(api, ndjson(rows))
    database.wait_for_states({"succeeded": 5})
    before = {item["title"]: item for item in api.client.get("/api/v1/issues").json()["items"]}
    url = f"/api/v1/issues/{before[rows[4]['title']]['id']}"
    assert api.client.put(f"{url}/tags", json={"tags": ["question", "backend"]}).is_success
    assert api.client.patch(url, json={"priority": "critical", "status": "in_progress"}).is_success

    rows[0]["title"] = "Another title altogether"
    rows[1]["status"] = "closed"
    rows[2]["priority"] = "low"
    del rows[3]["description"], rows[3]["status"], rows[3]["priority"]
    assert row_counts(import_file(api, ndjson(rows))) == {"updated": 3, "unchanged": 2}

    assert get_issue(api, rows[1]["title"])["status"] == "closed"
    assert get_issue(api, rows[2]["title"])["priority"] == "low"
    assert get_issue(api, rows[3]["title"]) == before[rows[3]["title"]], (
        "fields that the row omits must be unchanged"
    )
    database.wait_for_states({"succeeded": 6})
    result = get_issue(api, "Another title altogether")
    assert result["ai_summary"].startswith("AI Summary: Another title altogether")
    assert not result["stale"]

    for number in range(1, 4):
        changed = {**rows[4], "description": f"Version {number}", "priority": "high", "status": "closed"}
        assert row_counts(import_file(api, ndjson([changed]))) == {"updated": 1}
        database.wait_for_states({"succeeded": 6 + number})
        assert row_counts(import_file(api, ndjson([changed]))) == {"unchanged": 1}
    found = api.client.get(url).json()
    assert (found["priority"], found["status"]) == ("critical", "in_progress")
    assert found["description"] == "Version 3"
    assert found["tags"] == found["confirmed_tags"] == ["question", "backend"]


def test_import_with_changed_priority_keeps_accepted_priority(api: Api, database: Database) -> None:
    import_file(api, ndjson([row(1, title="Crash", priority="low")]))
    found = get_issue(api, "Crash")
    (job,) = database.query("SELECT id FROM job")
    database.query(
        "INSERT INTO enrichment (job_id, issue_id, summary, tags, priority, provenance) "
        """VALUES (%s, %s, 's', '[]', '{"value": "high", "reason": "crash"}', '{}')""",
        job["id"],
        found["id"],
    )
    response = api.client.post(f"/api/v1/issues/{found['id']}/suggestions/accept", json={"priority": True})
    assert response.json()["priority"] == "high", response.text

    assert row_counts(import_file(api, ndjson([row(1, title="Crash", priority="critical")]))) == {"unchanged": 1}
    assert get_issue(api, "Crash")["priority"] == "high"


def test_import_of_deleted_issue_is_skipped(api: Api, database: Database) -> None:
    import_file(api, ndjson([row(1), row(2)]))
    api.client.delete(f"/api/v1/issues/{get_issue(api, row(1)['title'])['id']}")

    assert row_counts(import_file(api, ndjson([row(1), row(2)]))) == {"skipped": 1, "unchanged": 1}

    posted = api.client.post(
        "/api/v1/issues", json={"title": "Posted", "external": {"source": "tracker:shop", "id": "1"}}
    )
    assert posted.status_code == 201, "the external id must be available again"
    assert row_counts(import_file(api, ndjson([row(1)]))) == {"updated": 1}
    assert api.client.get(posted.headers["location"]).json()["title"] == row(1)["title"]
    assert database.one("SELECT count(*) FROM issue") == 3


def test_import_dry_run_reports_counts_and_changes_nothing(api: Api, database: Database) -> None:
    import_file(api, ndjson([row(1), row(2)]))
    before = read_import_tables(database)

    operation = import_file(
        api, ndjson([row(1), row(2, title="Another"), row(3), row(4, title="")]), dry_run="true"
    )

    assert operation["dry_run"]
    assert row_counts(operation) == {"created": 1, "updated": 1, "unchanged": 1, "failed": 1}
    assert read_import_tables(database) == before


BAD_ROWS = [
    ('{"title": "x", ', "#", "json_invalid"),
    ("[1]", "#", "model_type"),
    (row(1, title="  "), "#/title", "string_too_short"),
    (row(1, title="x" * 513), "#/title", "string_too_long"),
    ({"source": "s", "external_id": "1"}, "#/title", "missing"),
    (row(1, description="x" * 65_537), "#/description", "string_too_long"),
    (row(1, description="a\x00b"), "#/description", "string_nul"),
    ('{"title": "half a character: \\ud800", "source": "s", "external_id": "1"}', "#", "json_invalid"),
    (row(1, priority="someday"), "#/priority", "unknown_name"),
    (row(1, status="lost"), "#/status", "unknown_name"),
    (row(1, project="Not A Project"), "#/project", "string_pattern_mismatch"),
    (row(1, source="no spaces"), "#/source", "string_pattern_mismatch"),
    (row(1, source=None), "#/source", "missing"),
    (row(1, external_id=None), "#/external_id", "missing"),
    (row(1, external_id=""), "#/external_id", "string_too_short"),
    (row(1, url="javascript:alert(1)"), "#/url", "string_pattern_mismatch"),
    (row(1, external={"source": "s", "id": "1"}), "#/external", "external_twice"),
    ({"title": "x", "external": {"source": "s"}}, "#/external/id", "missing"),
    (row(1, labels=["bug"]), "#/labels", "extra_forbidden"),
    (row(1, description="x" * 1_100_000), "#", "unreadable"),
    (row(500), "#/external_id", "repeated"),
]


def test_import_with_bad_rows_reports_each_and_imports_the_rest(api: Api, database: Database) -> None:
    rows: list[Any] = [row(500)]
    for number, (bad, _, _) in enumerate(BAD_ROWS):
        rows += [bad, row(1000 + number)]

    operation = import_file(api, ndjson(rows))

    errors = [(error["row"], error["line"], error["pointer"], error["rule"]) for error in operation["errors"]]
    expected = [(2 * n, 2 * n, pointer, rule) for n, (_, pointer, rule) in enumerate(BAD_ROWS, start=1)]
    assert errors == expected
    assert row_counts(operation) == {"created": 1 + len(BAD_ROWS), "failed": len(BAD_ROWS)}
    assert operation["errors"][-1]["detail"] == "Row 1 has the same source and external id."
    assert database.one("SELECT count(*) FROM issue JOIN job ON issue_id = issue.id") == 1 + len(BAD_ROWS)


def test_import_with_many_errors_reports_100_and_counts_the_rest(api: Api) -> None:
    operation = import_file(api, ndjson([row(number, title="") for number in range(250)]))

    assert row_counts(operation) == {"failed": 250}
    assert [error["row"] for error in operation["errors"]] == list(range(1, 101))
    assert operation["errors_omitted"] == 150


def test_import_with_distant_repeated_row_reports_it(api: Api) -> None:
    rows = [row(number) for number in range(1, 251)]

    operation = import_file(api, ndjson([*rows, rows[9]]))

    assert row_counts(operation) == {"created": 250, "failed": 1}
    assert operation["errors"][0]["detail"] == "Row 10 has the same source and external id."


GITHUB = [
    {
        "number": 1,
        "title": "Login fails",
        "body": "A click\r\ndoes nothing.",
        "state": "open",
        "html_url": "https://github.com/Acme/Shop/issues/1",
        "url": "https://api.github.com/repos/Acme/Shop/issues/1",
        "labels": [{"name": "bug"}],
    },
    {
        "number": 2,
        "title": "Fix login",
        "body": None,
        "state": "open",
        "html_url": "https://github.com/Acme/Shop/pull/2",
        "pull_request": {"url": "https://api.github.com/repos/Acme/Shop/pulls/2"},
    },
    # The format of `gh issue list --json number,title,body,state,url`.
    {
        "number": 3,
        "title": "Export",
        "body": "",
        "state": "CLOSED",
        "url": "https://github.com/Acme/Shop/issues/3",
    },
    {"number": "four", "title": "", "state": "merged", "html_url": "https://github.com/Acme/Shop/issues/4"},
    {"number": 5, "title": "Elsewhere", "html_url": "https://git.example.org/acme/shop/issues/5"},
    7,
]


def test_import_of_github_export_skips_pull_requests(api: Api) -> None:
    body = json.dumps(GITHUB, indent=1).encode()

    operation = import_file(api, body, f"{JSON}; charset=utf-8")

    assert operation["format"] == "json"
    assert row_counts(operation) == {"created": 2, "skipped": 1, "failed": 3}
    errors = [(error["row"], error["line"], error["pointer"]) for error in operation["errors"]]
    assert errors == [
        *((4, None, pointer) for pointer in ("#/number", "#/title", "#/state")),
        *((5, None, "#/html_url"), (6, None, "#")),
    ]
    login, export = get_issue(api, "Login fails"), get_issue(api, "Export")
    assert login["external"] == {
        "source": "github:acme/shop",
        "id": "1",
        "url": "https://github.com/Acme/Shop/issues/1",
        **NO_DETAILS,
    }
    assert (login["description"], login["status"]) == ("A click\r\ndoes nothing.", "open")
    assert (export["external"]["id"], export["status"]) == ("3", "closed")
    result = import_file(api, body, JSON, source="git.example.org/acme/shop")
    assert row_counts(result) == {"created": 1, "unchanged": 2, "skipped": 1, "failed": 2}


SPREADSHEET = """\
\ufeffTitle,description,Status,priority,external_id
Login fails,"A click
does ""nothing"".",open,high,1
Export,,closed,,2

"Unclosed,x,open,high,3
Search,"broken" text,open,low,4
Menu,one cell too few,open,5
Invoice,ends well,open,low,6
"""


def test_import_of_csv_with_broken_rows_imports_the_rest(api: Api) -> None:
    operation = import_file(api, SPREADSHEET.encode(), CSV, source="sheet")

    assert row_counts(operation) == {"created": 3, "failed": 3}
    errors = [(error["row"], error["line"], error["pointer"], error["rule"]) for error in operation["errors"]]
    assert errors == [(row, line, "#", "unreadable") for row, line in ((3, 6), (4, 7), (5, 8))]
    login = get_issue(api, "Login fails")
    assert (login["description"], login["priority"]) == ('A click\ndoes "nothing".', "high")
    assert (get_issue(api, "Export")["priority"], get_issue(api, "Export")["status"]) == ("medium", "closed")
    assert get_issue(api, "Invoice")["external"]["source"] == "sheet"
    assert row_counts(import_file(api, SPREADSHEET.encode(), CSV, source="sheet")) == {"unchanged": 3, "failed": 3}


@pytest.mark.parametrize(
    ("body", "media_type", "query", "status", "message"),
    [
        (b"<rows/>", "application/xml", {}, 415, "application/x-ndjson, text/csv, application/json"),
        (b"[" + b'{"number": 1}, ' * 2, JSON, {}, 400, "not valid JSON"),
        (b"[1] 2", JSON, {}, 400, "not valid JSON"),
        (b"[1 2]", JSON, {}, 400, "not valid JSON"),
        (b"[" * 100_000, JSON, {}, 400, "nested too deeply"),
        (b'["\xff"]', JSON, {}, 422, "Line 1 is not UTF-8: its byte 3 is 0xff"),
        (b'{"issues": []}', JSON, {}, 422, "list of issues"),
        (b"", CSV, {}, 422, "title"),
        (b"title,external_id,estimate\n", CSV, {}, 422, '"estimate" is not a column of an issue'),
        (b"title,title,external_id\n", CSV, {}, 422, "Several columns are title"),
        (b"title\n", CSV, {}, 422, "external_id"),
        (b"title,external_id\n" + b'x",y"z,"w\n' * 150_000, CSV, {}, 422, "quotes"),
        (b"", NDJSON, {"dryrun": "true"}, 422, "dryrun:"),
        (b"", NDJSON, {"dry_run": "perhaps"}, 422, "dry_run:"),
        (b"", NDJSON, {"project": "No Project"}, 422, "project:"),
        (b"", NDJSON, {"source": "no source"}, 422, "source:"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_import_is_rejected_as_a_whole(
    body: bytes, media_type: str, query: dict[str, str], status: int, message: str, api: Api, database: Database
) -> None:
    problem = assert_problem(post_import(api, body, media_type, **query), status)

    assert message in str(problem["detail"])
    assert database.one("SELECT count(*) FROM operation") == 0


def test_import_of_empty_file_has_no_rows(api: Api) -> None:
    for body, media_type in ((b"", NDJSON), (b" [ ] ", JSON), (b"title,external_id\n", CSV), (b"\n\n", NDJSON)):
        operation = import_file(api, body, media_type)
        assert (operation["total"], row_counts(operation)) == (0, {})


def test_import_body_has_its_own_size_limit(new_api: ApiFactory, database: Database) -> None:
    api = new_api({"IMPORT_MAX_BYTES": "2000000"})
    body = ndjson([row(number, description="x" * 60_000) for number in range(20)])
    assert len(body) > MAX_BODY_BYTES

    assert row_counts(import_file(api, body)) == {"created": 20}
    for content in (body * 3, iter([body] * 3)):
        response = api.client.post("/api/v1/imports", content=content, headers={"content-type": NDJSON})
        assert "2000000 bytes" in str(assert_problem(response, 413)["detail"])
    assert_problem(api.post("x" * MAX_BODY_BYTES), 413)
    assert database.one("SELECT count(*) FROM operation") == 1


def test_import_with_too_many_rows_is_rejected_with_413(api: Api, database: Database) -> None:
    response = post_import(api, b"1\n" * 100_001)

    assert "100,000 rows" in str(assert_problem(response, 413)["detail"])
    assert database.one("SELECT (SELECT count(*) FROM operation) + (SELECT count(*) FROM import_row)") == 0


def test_import_error_pointer_length_is_bounded(api: Api) -> None:
    operation = import_file(api, ndjson([row(1, **{"x" * 5000: 1}), row(2, **{"a\0b": 1}), row(3)]))

    assert row_counts(operation) == {"created": 1, "failed": 2}
    assert max(len(error["pointer"]) for error in operation["errors"]) <= 300


def test_import_repeated_with_idempotency_key_runs_once(api: Api, database: Database) -> None:
    key = {"Idempotency-Key": "file-1"}
    body = ndjson([row(number, description="x" * 60_000) for number in range(20)])

    first, second = (post_import(api, body, headers=key) for _ in range(2))

    assert row_counts(wait_for_operation(api, first)) == {"created": 20}
    assert second.headers["idempotency-replayed"] == "true"
    assert second.json() == first.json()
    assert database.one("SELECT count(*) FROM operation") == 1
    assert_problem(post_import(api, body + b"\n", headers=key), 422)


def test_unknown_operation_returns_404(api: Api) -> None:
    assert_problem(api.client.get(f"/api/v1/operations/{new_id()}"), 404)


def test_import_audit_entry_contains_token_of_request(new_api: ApiFactory, database: Database) -> None:
    api = new_api(CLOSED)
    token = Tokens(api).make("migration", "issues:write", "issues:read")

    accepted = post_import(api, ndjson([row(1)]), headers=bearer(token["token"]))

    api.client.headers.update(bearer(ADMIN))
    assert wait_for_operation(api, accepted)["requested_by"] == "migration"
    (entry,) = database.query("SELECT actor, actor_id::text FROM audit_log WHERE action = 'issues.imported'")
    assert entry == {"actor": "migration", "actor_id": token["id"]}
    request_id = accepted.headers["x-request-id"]
    assert database.one("SELECT message->>'request_id' FROM job") == request_id


def insert_uncommitted_issue(servers: Servers, external_id: str) -> Any:
    """Return a connection with an uncommitted issue with this id, which blocks other inserts of the id."""
    connection = psycopg2.connect(servers.database_url)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO issue (id, title, external_source, external_id) VALUES (%s, 'Uncommitted', %s, %s)",
            [str(new_id()), "tracker:shop", external_id],
        )
    return connection


def is_waiting(database: Database) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
    return bool(database.one(waiting, "%new_issue%"))


def test_import_after_process_kill_resumes_without_repeating_rows(
    new_api: ApiFactory, database: Database, servers: Servers
) -> None:
    api = new_api(FAST_POLL)
    lock_connection = insert_uncommitted_issue(servers, "450")
    accepted = post_import(api, ndjson([row(number) for number in range(1, 601)]))
    wait_until(lambda: is_waiting(database), "the import to be in its third batch")
    api.process.kill_group()
    killed_at = database.query("SELECT done, created, state FROM operation")
    assert killed_at == [{"done": 400, "created": 400, "state": "running"}]
    lock_connection.rollback()

    operation = wait_for_operation(new_api(FAST_POLL), accepted)

    assert row_counts(operation) == {"created": 600}
    assert (operation["total"], operation["done"], operation["errors"]) == (600, 600, [])
    assert database.one("SELECT count(DISTINCT external_id) FROM issue") == 600
    assert database.one("SELECT count(*) FROM issue") == 600
    assert database.one("SELECT count(DISTINCT issue_id) FROM job") == 600
    assert database.one("SELECT count(*) FROM job") == 600
    assert database.one("SELECT count(*) FROM audit_log") == 1
    assert database.one("SELECT count(*) FROM import_row") == 0
    lock_connection.close()


def test_import_of_issue_created_concurrently_updates_it(api: Api, database: Database, servers: Servers) -> None:
    lock_connection = insert_uncommitted_issue(servers, "2")
    accepted = post_import(api, ndjson([row(1), row(2), row(3)]))
    wait_until(lambda: is_waiting(database), "the import to wait")
    lock_connection.commit()
    lock_connection.close()

    assert row_counts(wait_for_operation(api, accepted)) == {"created": 2, "updated": 1}
    assert get_issue(api, row(2)["title"])["external"]["id"] == "2"


def test_imports_with_two_processes_apply_each_row_once(new_api: ApiFactory, database: Database) -> None:
    apis = [new_api(FAST_POLL) for _ in range(2)]
    rows = [row(number) for number in range(1, 401)]

    accepted = [post_import(apis[number % 2], ndjson(rows)) for number in range(4)]

    errors = [row_counts(wait_for_operation(apis[0], response)) for response in accepted]
    assert sum(count.get("created", 0) for count in errors) == 400
    assert all(sum(count.values()) == 400 and set(count) <= {"created", "unchanged"} for count in errors)
    assert database.one("SELECT count(*) FROM issue") == 400
    assert database.one("SELECT count(*) FROM job") == 400


def test_import_with_poison_row_imports_the_rest(api: Api, database: Database) -> None:
    database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.title = 'Poison' THEN RAISE EXCEPTION 'poison'; END IF; RETURN NEW; END $$"
    )
    database.query("CREATE TRIGGER refuse BEFORE INSERT ON issue FOR EACH ROW EXECUTE FUNCTION refuse()")
    try:
        operation = import_file(api, ndjson([row(1), row(2, title="Poison"), row(3)]))
    finally:
        database.query("DROP TRIGGER refuse ON issue; DROP FUNCTION refuse()")

    assert row_counts(operation) == {"created": 2, "failed": 1}
    (error,) = operation["errors"]
    assert (error["row"], error["rule"]) == (2, "unexpected_error")
    wait_until(lambda: api.log.has("import_batch_failed"), "import_batch_failed in the log")


def test_import_after_lost_connection_resumes(api: Api, database: Database, servers: Servers) -> None:
    lock_connection = insert_uncommitted_issue(servers, "2")
    accepted = post_import(api, ndjson([row(1), row(2)]))
    wait_until(lambda: is_waiting(database), "the import to wait")
    database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'issuetracker-api'"
    )
    lock_connection.rollback()
    lock_connection.close()

    assert row_counts(wait_for_operation(api, accepted)) == {"created": 2}
