"""Changing and deleting issues: merge patches, entity tags, external ids, duplicates."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.ids import new_id
from contracts.names import Task
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.canary import find_keys, find_tables
from tests.support.database import Database
from tests.support.latch import FileLatch
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.waiting import wait_until

MERGE_PATCH = "application/merge-patch+json"
EXTERNAL = {"source": "github:acme/shop", "id": "7", "url": "https://example.org/7"}


def patch(api: Api, issue_id: str, body: Any, **headers: str) -> httpx.Response:
    return api.client.patch(
        f"/api/v1/issues/{issue_id}", json=body, headers={"content-type": MERGE_PATCH} | headers
    )


def post_external(api: Api, **external: Any) -> httpx.Response:
    return api.client.post("/api/v1/issues", json={"title": "Imported", "external": EXTERNAL | external})


def errors(response: httpx.Response) -> list[tuple[str, str]]:
    problem = assert_problem(response, 422)
    assert isinstance(problem["errors"], list)
    return [(error["pointer"], error["rule"]) for error in problem["errors"]]


def test_patch_changes_only_given_fields(api: Api, database: Database) -> None:
    issue = api.post("Export is empty", description="Since Monday.").json()
    # A transition of the job changes the entity tag.
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")

    response = patch(
        api, issue["id"], {"title": " Export is blank ", "status": "in_progress", "description": None}
    )

    assert response.status_code == 200
    changed = response.json()
    assert (changed["title"], changed["status"], changed["description"]) == ("Export is blank", "in_progress", "")
    assert (changed["priority"], changed["project"]) == (issue["priority"], issue["project"])
    assert changed["updated_at"] > issue["updated_at"]
    assert response.headers["etag"] == api.client.get(f"/api/v1/issues/{issue['id']}").headers["etag"]
    (entry,) = database.read_audit_log()
    assert (entry["action"], entry["subject"]) == ("issue.changed", issue["id"])
    assert entry["detail"] == {"title": None, "status": "in_progress", "description": None}


def test_patch_with_plain_json_is_accepted(api: Api) -> None:
    issue_id = api.post().json()["id"]

    assert patch(api, issue_id, {"priority": "low"}, **{"content-type": "application/json"}).status_code == 200
    assert_problem(patch(api, issue_id, {"priority": "low"}, **{"content-type": "text/plain"}), 415)


def test_patch_without_change_leaves_issue_unchanged(api: Api, database: Database) -> None:
    before = api.client.get(api.post("Export is empty").headers["location"])
    issue_id = before.json()["id"]

    for body in ({}, {"title": "Export is empty"}, {"priority": "medium"}):
        response = patch(api, issue_id, body)
        assert response.json()["updated_at"] == before.json()["updated_at"]
    assert database.read_audit_log() == []
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
def test_invalid_patch_returns_field_and_rule(api: Api, body: Any, pointer: str, rule: str) -> None:
    issue = api.post().json()

    assert errors(patch(api, issue["id"], body)) == [(pointer, rule)]
    assert api.client.get(f"/api/v1/issues/{issue['id']}").json()["updated_at"] == issue["updated_at"]


def test_patch_with_old_etag_is_rejected_with_412(api: Api, database: Database) -> None:
    location = api.post("Export is empty").headers["location"]
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")
    issue_id = location.rpartition("/")[2]
    old = api.client.get(location).headers["etag"]
    assert old.startswith('"'), "the entity tag must be strong"

    first = patch(api, issue_id, {"priority": "high"}, **{"if-match": old})
    second = patch(api, issue_id, {"priority": "low"}, **{"if-match": old})
    old_weak = patch(api, issue_id, {"priority": "low"}, **{"if-match": f"W/{old}"})

    assert first.status_code == 200
    assert_problem(second, 412)
    assert second.headers["etag"] == first.headers["etag"], "the response must contain the current entity tag"
    assert_problem(old_weak, 412)
    assert_problem(api.client.delete(location, headers={"if-match": old}), 412)
    # nginx makes the tag weak when it compresses the response.
    current = first.headers["etag"]
    for tags in ("*", current, f'"other", {current}', f"W/{current}"):
        assert patch(api, issue_id, {"priority": "high"}, **{"if-match": tags}).status_code == 200


def test_get_with_current_etag_returns_304(api: Api, database: Database) -> None:
    # The job stays queued, so nothing changes the issue during the test.
    location = api.post("Export is empty").headers["location"]
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")
    tag = api.client.get(location).headers["etag"]

    for etags in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = api.client.get(location, headers={"if-none-match": etags})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
    assert api.client.get(location, headers={"if-none-match": '"other"'}).status_code == 200

    # A transition of the job also changes the entity tag, although no column of the issue changes.
    database.query("UPDATE job SET state = 'retrying', attempts = 1, lease_until = NULL, last_error = 'away'")
    assert api.client.get(location, headers={"if-none-match": tag}).status_code == 200


def test_concurrent_patches_are_all_applied(api: Api) -> None:
    issue_id = api.post().json()["id"]
    texts = [{"title": f"Title {number}"} for number in range(4)]

    with ThreadPoolExecutor(8) as clients:
        responses = list(
            clients.map(
                lambda body: patch(api, issue_id, body), [{"priority": "high"}, {"status": "closed"}, *texts]
            )
        )

    assert {response.status_code for response in responses} == {200}
    issue = api.client.get(f"/api/v1/issues/{issue_id}").json()
    assert (issue["priority"], issue["status"]) == ("high", "closed")
    assert len(api.client.get(f"/api/v1/issues/{issue_id}/enrichments").json()["items"]) == 1


def test_duplicate_of_duplicate_is_rejected(api: Api) -> None:
    original, duplicate, third = (api.post(f"Issue {number}").json()["id"] for number in range(3))

    assert patch(api, duplicate, {"duplicate_of": original}).json()["duplicate_of"] == original

    assert errors(patch(api, original, {"duplicate_of": original})) == [("#/duplicate_of", "duplicate_of")]
    assert errors(patch(api, third, {"duplicate_of": duplicate})) == [("#/duplicate_of", "duplicate_of")]
    assert errors(patch(api, original, {"duplicate_of": third})) == [("#/duplicate_of", "duplicate_of")]
    assert patch(api, duplicate, {"duplicate_of": None}).json()["duplicate_of"] is None


def test_deleted_issue_returns_404_everywhere(api: Api, database: Database) -> None:
    original = api.post("Deleted").json()["id"]
    duplicate = api.post("Its duplicate").json()["id"]
    patch(api, duplicate, {"duplicate_of": original})
    url = f"/api/v1/issues/{original}"

    response = api.client.delete(url)

    assert (response.status_code, response.content) == (204, b"")
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
    assert database.one("SELECT count(*) FROM issue") == 2, (
        "the row must remain so that an operator can restore it"
    )
    assert database.read_audit_log()[-1]["action"] == "issue.deleted"


def test_issue_deleted_or_erased_during_enrichment_is_not_written(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, servers: Servers, tmp_path: Path
) -> None:
    api = new_api({"DISPATCH_POLL_SECONDS": "0.1"})
    latch = FileLatch(tmp_path)
    worker = new_worker({**latch.env, "WORKER_CONCURRENCY": "3"}, app="tests.support.paused_app")
    deleted = api.post("Deleted while it is enriched").json()["id"]
    erased = api.post("Zyqvokarn").json()["id"]
    latch.wait(processes=2)
    database.wait_for_states({"running": 2})

    assert api.client.delete(f"/api/v1/issues/{deleted}").status_code == 204
    erasure = api.client.put(f"/api/v1/erasures/{erased}").headers["location"]
    wait_until(lambda: api.client.get(erasure).json()["finished_at"] is not None, "the erasure")
    latch.release()

    wait_until(lambda: sum("lease_lost" in line for line in worker.log.lines) == 2, "both attempts to end")
    jobs = database.query("SELECT state, note, issue_id FROM job WHERE task = %s ORDER BY id", Task.ENRICH_ISSUE)
    assert jobs == [
        {"state": "skipped", "note": "the issue was deleted", "issue_id": deleted},
        {"state": "skipped", "note": "the issue was erased", "issue_id": None},
    ]
    assert database.one("SELECT ai_summary FROM issue") is None
    assert database.one("SELECT count(*) FROM enrichment") == 0
    assert find_tables(servers, "zyqvokarn") | find_keys(servers, "zyqvokarn") == set()


def test_external_id_in_use_is_rejected_with_409(api: Api, database: Database) -> None:
    first = post_external(api)
    assert first.status_code == 201
    unknown = dict.fromkeys(("created_at", "updated_at", "closed_at", "author", "assignee"))
    assert first.json()["external"] == EXTERNAL | unknown
    assert api.client.get(first.headers["location"]).json()["external"] == EXTERNAL | unknown

    problem = assert_problem(post_external(api), 409)

    assert problem["existing_id"] == first.json()["id"]
    assert database.one("SELECT count(*) FROM job") == 1, "a rejected request must not create a job"
    assert post_external(api, id="8").status_code == 201
    assert post_external(api, source="jira:shop").status_code == 201
    api.client.delete(first.headers["location"])
    assert post_external(api).status_code == 201, "the external id of a deleted issue must be available"


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
def test_invalid_external_id_returns_pointer(api: Api, external: dict[str, Any], pointer: str) -> None:
    assert [found for found, _ in errors(post_external(api, **external))] == [pointer]
