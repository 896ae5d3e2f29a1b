"""Changing and deleting issues: merge patches, entity tags, external ids, duplicates."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.ids import new_id
from devstack.network import wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.latch import FileLatch
from tests.support.processes import Api

MERGE_PATCH = "application/merge-patch+json"
EXTERNAL = {"source": "github:acme/shop", "id": "7", "url": "https://example.org/7"}


def patch(api: Api, issue_id: str, body: Any, **headers: str) -> httpx.Response:
    return api.client.patch(
        f"/api/v1/issues/{issue_id}", json=body, headers={"content-type": MERGE_PATCH} | headers
    )


def post_external(api: Api, **external: Any) -> httpx.Response:
    return api.client.post("/api/v1/issues", json={"title": "Imported", "external": EXTERNAL | external})


def errors(answer: httpx.Response) -> list[tuple[str, str]]:
    problem = assert_problem(answer, 422)
    assert isinstance(problem["errors"], list)
    return [(error["pointer"], error["rule"]) for error in problem["errors"]]


def test_a_patch_changes_what_it_names_and_nothing_else(api: Api, database: Database) -> None:
    issue = api.post("Export is empty", description="Since Monday.").json()

    answer = patch(api, issue["id"], {"title": " Export is blank ", "status": "in_progress", "description": None})

    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["title"], changed["status"], changed["description"]) == ("Export is blank", "in_progress", "")
    assert (changed["priority"], changed["project"]) == (issue["priority"], issue["project"])
    assert changed["updated_at"] > issue["updated_at"]
    assert answer.headers["etag"] == api.client.get(f"/api/v1/issues/{issue['id']}").headers["etag"]
    (entry,) = database.audited()
    assert (entry["action"], entry["subject"]) == ("issue.changed", issue["id"])
    assert entry["detail"] == {"title": None, "status": "in_progress", "description": None}


def test_plain_json_is_taken_for_a_merge_patch_too(api: Api) -> None:
    issue_id = api.post().json()["id"]

    assert patch(api, issue_id, {"priority": "low"}, **{"content-type": "application/json"}).status_code == 200
    assert_problem(patch(api, issue_id, {"priority": "low"}, **{"content-type": "text/plain"}), 415)


def test_a_patch_that_changes_nothing_leaves_the_issue_as_it_is(api: Api, database: Database) -> None:
    before = api.client.get(api.post("Export is empty").headers["location"])
    issue_id = before.json()["id"]

    for body in ({}, {"title": "Export is empty"}, {"priority": "medium"}):
        answer = patch(api, issue_id, body)
        assert answer.json()["updated_at"] == before.json()["updated_at"]
    assert database.audited() == []
    assert database.one("SELECT count(*) FROM job") == 1


@pytest.mark.parametrize(
    ("body", "pointer", "rule"),
    [
        ({"title": None}, "#/title", "string_type"),
        ({"title": " "}, "#/title", "string_too_short"),
        ({"priority": None}, "#/priority", "enum"),
        ({"status": "lost"}, "#/status", "enum"),
        ({"tags": ["bug"]}, "#/tags", "extra_forbidden"),
        ({"id": str(new_id())}, "#/id", "extra_forbidden"),
        ({"duplicate_of": "seven"}, "#/duplicate_of", "uuid_parsing"),
        ({"duplicate_of": str(new_id())}, "#/duplicate_of", "duplicate_of"),
        (["title"], "#", "model_attributes_type"),
    ],
)
def test_a_bad_patch_names_the_field_and_the_rule(api: Api, body: Any, pointer: str, rule: str) -> None:
    issue = api.post().json()

    assert errors(patch(api, issue["id"], body)) == [(pointer, rule)]
    assert api.client.get(f"/api/v1/issues/{issue['id']}").json()["updated_at"] == issue["updated_at"]


def test_a_change_based_on_an_old_state_is_refused(api: Api, database: Database) -> None:
    location = api.post("Export is empty").headers["location"]
    wait_until(lambda: database.states() == {"queued": 1}, 30, "the job to be queued")
    issue_id = location.rpartition("/")[2]
    old = api.client.get(location).headers["etag"]
    assert old.startswith('"'), "a strong tag"

    first = patch(api, issue_id, {"priority": "high"}, **{"if-match": old})
    second = patch(api, issue_id, {"priority": "low"}, **{"if-match": old})
    weak = patch(api, issue_id, {"priority": "low"}, **{"if-match": f"W/{first.headers['etag']}"})

    assert first.status_code == 200
    assert_problem(second, 412)
    assert second.headers["etag"] == first.headers["etag"], "what it is now"
    assert_problem(weak, 412)
    assert_problem(api.client.delete(location, headers={"if-match": old}), 412)
    for tags in ("*", first.headers["etag"], f'"other", {first.headers["etag"]}'):
        assert patch(api, issue_id, {"priority": "high"}, **{"if-match": tags}).status_code == 200


def test_what_the_client_has_already_is_not_sent_again(api: Api, database: Database) -> None:
    # Its job is dead: nothing moves on by itself.
    location = api.post("Export is empty").headers["location"]
    wait_until(lambda: database.states() == {"queued": 1}, 30, "the job to be queued")
    tag = api.client.get(location).headers["etag"]

    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = api.client.get(location, headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert api.client.get(location, headers={"if-none-match": '"other"'}).status_code == 200

    # What a worker does is a change as well, though it touches no column of the issue.
    database.query("UPDATE job SET state = 'retrying', attempts = 1, lease_until = NULL, last_error = 'away'")
    assert api.client.get(location, headers={"if-none-match": tag}).status_code == 200


def test_two_changes_at_once_are_both_made(api: Api) -> None:
    issue_id = api.post().json()["id"]
    texts = [{"title": f"Title {number}"} for number in range(4)]

    with ThreadPoolExecutor(8) as clients:
        answers = list(
            clients.map(
                lambda body: patch(api, issue_id, body), [{"priority": "high"}, {"status": "closed"}, *texts]
            )
        )

    assert {answer.status_code for answer in answers} == {200}
    issue = api.client.get(f"/api/v1/issues/{issue_id}").json()
    assert (issue["priority"], issue["status"]) == ("high", "closed")
    assert len(api.client.get(f"/api/v1/issues/{issue_id}/enrichments").json()["items"]) == 1


def test_a_duplicate_names_an_original_and_no_chain_is_made(api: Api) -> None:
    original, duplicate, third = (api.post(f"Issue {number}").json()["id"] for number in range(3))

    assert patch(api, duplicate, {"duplicate_of": original}).json()["duplicate_of"] == original

    assert errors(patch(api, original, {"duplicate_of": original})) == [("#/duplicate_of", "duplicate_of")]
    assert errors(patch(api, third, {"duplicate_of": duplicate})) == [("#/duplicate_of", "duplicate_of")]
    assert errors(patch(api, original, {"duplicate_of": third})) == [("#/duplicate_of", "duplicate_of")]
    assert patch(api, duplicate, {"duplicate_of": None}).json()["duplicate_of"] is None


def test_a_deleted_issue_is_gone_for_everybody(api: Api, database: Database) -> None:
    original = api.post("Deleted").json()["id"]
    duplicate = api.post("Its duplicate").json()["id"]
    patch(api, duplicate, {"duplicate_of": original})
    url = f"/api/v1/issues/{original}"

    answer = api.client.delete(url)

    assert (answer.status_code, answer.content) == (204, b"")
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("PATCH", ""),
        ("GET", "/enrichment"),
        ("GET", "/enrichments"),
        ("POST", "/enrichments"),
        ("GET", "/similar"),
        ("PUT", "/tags"),
    ):
        body = {"PATCH": {"priority": "low"}, "PUT": {"tags": ["bug"]}}.get(method)
        assert_problem(api.client.request(method, url + path, json=body), 404)
    assert [issue["id"] for issue in api.client.get("/api/v1/issues").json()["items"]] == [duplicate]
    assert api.client.get("/api/v1/issues?q=deleted").json()["items"] == []
    assert api.client.get(f"/api/v1/issues/{duplicate}").json()["duplicate_of"] is None
    assert database.one("SELECT state FROM job WHERE issue_id = %s", original) == "skipped"
    assert database.one("SELECT count(*) FROM issue") == 2, "an operator can bring it back"
    assert database.audited()[-1]["action"] == "issue.deleted"


def test_an_issue_deleted_while_it_is_enriched_stays_as_it_was(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, tmp_path: Path
) -> None:
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    latch = FileLatch(tmp_path)
    worker = new_worker(latch.env, app="tests.support.paused_app")
    issue_id = api.post("Deleted while it is enriched").json()["id"]
    latch.wait()

    assert api.client.delete(f"/api/v1/issues/{issue_id}").status_code == 204
    latch.release()

    wait_until(lambda: worker.log.has("lease_lost"), 60, "the worker to notice")
    assert database.states() == {"skipped": 1}
    assert database.one("SELECT ai_summary FROM issue") is None
    assert database.one("SELECT count(*) FROM enrichment") == 0


def test_an_external_id_is_taken_once(api: Api, database: Database) -> None:
    first = post_external(api)
    assert first.status_code == 201
    assert first.json()["external"] == EXTERNAL
    assert api.client.get(first.headers["location"]).json()["external"] == EXTERNAL

    problem = assert_problem(post_external(api), 409)

    assert problem["existing_id"] == first.json()["id"]
    assert database.one("SELECT count(*) FROM job") == 1, "and no job is left behind"
    assert post_external(api, id="8").status_code == 201
    assert post_external(api, source="jira:shop").status_code == 201
    api.client.delete(first.headers["location"])
    assert post_external(api).status_code == 201, "what is deleted holds no name"


@pytest.mark.parametrize(
    ("external", "pointer"),
    [
        ({"source": "Git Hub"}, "#/external/source"),
        ({"id": " "}, "#/external/id"),
        ({"url": "javascript:alert(1)"}, "#/external/url"),
        ({"url": "https://"}, "#/external/url"),
        ({"more": 1}, "#/external/more"),
    ],
)
def test_a_bad_external_id_is_named(api: Api, external: dict[str, Any], pointer: str) -> None:
    assert [found for found, _ in errors(post_external(api, **external))] == [pointer]
