"""Erasure: no text of an erased issue remains in PostgreSQL, Redis, logs or models."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from api.dispatch.envelope import encode_message
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.names import QUEUE_OF, Task
from contracts.states import WebhookEvent
from tests.conftest import STOP_TIMEOUT_S
from tests.integration.test_backup import run_backup_script
from tests.integration.test_confirmed_tags import put_tags
from tests.integration.test_issues_api import assert_problem
from tests.support.access import ADMIN, CLOSED, Tokens, bearer
from tests.support.canary import find_keys, find_log_lines, find_tables
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.imports import import_file, ndjson, post_import
from tests.support.processes import Api, RunningProcess, start_api, start_worker
from tests.support.receiver import HOST, Receiver
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("erasure")

WORD = "zyqvokarn"
"""Part of every text of the erased issues. It is its own stem, so the search index contains it too."""
PROJECT = "acme/garden"
SOURCE = "tracker:shop"
SETTINGS = {
    **CLOSED,
    "RETRY_DELAYS": "0.1",
    "DISPATCH_POLL_SECONDS": "0.1",
    "RETRAIN_AFTER": "0",
    "WEBHOOK_ALLOW": HOST,
    "LOG_LEVEL": "DEBUG",
}
PLANTS = ("rose", "tulip", "fern", "oak", "birch", "lily", "daisy", "moss", "maple", "ivy")
# Each table that contains text of an issue. The others contain ids, numbers and names.
WITH_TEXT = {
    "dead_message",
    "enrichment",
    "idempotent_answer",
    "issue",
    "issue_search",
    "job",
    "job_failure",
    "operation",
    "project_model",
}


@dataclass
class Stack:
    """The API and the worker of this module."""

    servers: Servers
    api: Api
    worker: RunningProcess

    def post(self, title: str, key: str | None = None, **fields: Any) -> str:
        headers = {} if key is None else {"Idempotency-Key": key}
        # The first word of the description selects a failure of the worker.
        body = {"title": title, "description": "fine", **fields}
        response = self.api.client.post("/api/v1/issues", json=body, headers=headers)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_cli(str(self.api.client.base_url), *arguments, env={"ISSUETRACKER_TOKEN": ADMIN})

    def find_remains(self) -> tuple[set[str], set[str], list[str]]:
        """Return the tables, keys of Redis and log lines that contain the word."""
        return (
            find_tables(self.servers, WORD),
            find_keys(self.servers, WORD),
            find_log_lines(WORD, self.api.log, self.worker.log, self.servers.log),
        )

    def prune(self, database: Database) -> None:
        job = database.add_job(Task.PRUNE, QUEUE_OF[Task.PRUNE])
        wait_until(lambda: database.job(job)["state"] == "succeeded", "the pruning to end")


@pytest.fixture(scope="module")
def module_stack(servers: Servers) -> Iterator[Stack]:
    env = {**servers.env, **SETTINGS}
    stack = Stack(servers, start_api(env), start_worker(env, "erasure", "tests.support.sensitive_errors_app"))
    stack.api.client.headers.update(bearer(ADMIN))
    yield stack
    stack.api.client.close()
    stack.api.process.stop(STOP_TIMEOUT_S)
    stack.worker.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def stack(module_stack: Stack, database: Database, broker: redis.Redis) -> Stack:
    del database, broker
    return module_stack


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def is_enriched(stack: Stack, issue_id: str) -> bool:
    return stack.api.client.get(f"/api/v1/issues/{issue_id}/enrichment").status_code == 200


def push_dead_message(broker: redis.Redis, issue_id: str, *, is_readable: bool) -> None:
    """Push a message of another program, which no worker can run. Its body is in base64."""
    job_id = new_id()
    fields = {
        "contract_version": CONTRACT_VERSION,
        "job_id": str(job_id),
        "issue_id": issue_id,
        "text": f"About {WORD}",
    }
    envelope = json.loads(encode_message(job_id, "tests.unknown", "issues", fields, 0))
    if not is_readable:
        del envelope["headers"]["kwargsrepr"]
    broker.lpush("issues", json.dumps(envelope))


def replay_readable_message(stack: Stack, database: Database) -> None:
    readable = database.one("SELECT id FROM dead_message WHERE raw LIKE '%%kwargsrepr%%'")
    assert stack.api.client.post(f"/api/v1/dead-letters/{readable}/replay").status_code == 202


def train(stack: Stack, database: Database) -> None:
    assert stack.cli("model", "train", "--project", PROJECT).returncode == 0
    wait_until(
        lambda: database.one("SELECT count(*) FROM project_model WHERE project = %s", PROJECT) == 2,
        "a model of each kind",
    )


def wait_for_trainings(database: Database) -> None:
    unfinished = "SELECT count(*) FROM job WHERE task = %s AND state IN ('pending', 'queued', 'running')"
    wait_until(lambda: database.one(unfinished, Task.RETRAIN) == 0, "the training to end")


def test_erased_issue_leaves_no_text(
    stack: Stack, receiver: Receiver, database: Database, broker: redis.Redis
) -> None:
    client = stack.api.client
    hook = {"url": receiver.url, "events": list(WebhookEvent)}
    assert client.post("/api/v1/webhooks", json=hook).status_code == 201
    external = {"source": SOURCE, "id": f"{WORD}-1", "url": f"https://tracker.example/{WORD}"}
    text = {"description": f"fine The {WORD} panel stays empty after a click.", "project": PROJECT}
    first = stack.post(f"The {WORD} panel is empty", "the-first", external=external, **text)
    second = stack.post(f"The {WORD} panel crashes", **text)
    failing = stack.post(f"The {WORD} export fails", description=f"bug {WORD}", project=PROJECT)
    others = [
        stack.post(f"The {plant} panel {what}", description=f"fine The {plant} panel.", project=PROJECT)
        for plant in PLANTS
        for what in ("wilts", "sprouts")
    ]
    for issue_id in (first, second):
        wait_until(partial(is_enriched, stack, issue_id), "the enrichment")
    wait_until(lambda: database.one("SELECT count(*) FROM job WHERE state = 'dead'") == 1, "the dead letter")
    accept = f"/api/v1/issues/{first.replace('-', '')}/suggestions/accept-all"
    assert client.post(accept, headers={"Idempotency-Key": "accept"}).status_code == 200
    assert client.patch(f"/api/v1/issues/{first}", json={"title": f"The {WORD} panel lost its data"}).is_success
    for number, issue_id in enumerate((first, second, *others)):
        assert put_tags(stack.api, issue_id, "bug" if number % 2 else "feature", "frontend").is_success
    train(stack, database)
    dead_job = client.get("/api/v1/dead-letters?kind=job").json()["items"][0]["id"]
    assert client.post("/api/v1/dead-letters/replay", json={"q": WORD}).json()["replayed"] == 1
    wait_until(lambda: database.job(dead_job)["state"] == "dead", "the second death")
    discard = {"reason": f"we know {WORD}"}
    assert client.post(f"/api/v1/dead-letters/{dead_job}/discard", json=discard).status_code == 200
    file = [
        {"source": SOURCE, "external_id": f"{WORD}-1", "title": "T", "status": "closed"},
        {"source": SOURCE, "external_id": "2", "title": "T", "priority": WORD},
    ]
    assert import_file(stack.api, ndjson(file))["failed"] == 1
    push_dead_message(broker, first, is_readable=True)
    push_dead_message(broker, second, is_readable=False)
    wait_until(lambda: database.one("SELECT count(*) FROM dead_message") == 2, "the dead messages")
    replay_readable_message(stack, database)
    with stack.servers.superuser() as cursor, pytest.raises(psycopg2.Error):
        cursor.execute(
            "INSERT INTO issue (id, title, status) VALUES (gen_random_uuid(), %s, 'none')", [f"A {WORD}"]
        )
    wait_until(lambda: find_tables(stack.servers, WORD) == WITH_TEXT, "text in each of these tables")

    for issue_id in (first, second, failing):
        done = stack.cli("issues", "erase", issue_id, "--wait")
        assert (done.returncode, done.stdout) == (0, f"issue {issue_id} is erased\n"), done.stderr
    wait_for_trainings(database)

    assert stack.find_remains() == (set(), set(), [])
    tombstones = database.query("SELECT id, project, actor, is_project FROM erasure ORDER BY id")
    assert tombstones == [
        {"id": issue_id, "project": PROJECT, "actor": "admin-token", "is_project": False}
        for issue_id in (first, second, failing)
    ]
    assert {issue["id"] for issue in client.get("/api/v1/issues").json()["items"]} == set(others)
    models = client.get("/api/v1/models", params={"project": PROJECT}).json()["models"]
    assert {model["examples"] for model in models} == {len(others)}
    wait_until(lambda: receiver.events().count("issue.deleted") == 3, "the deletions at the receiver")
    deletions = [each.event for each in receiver.received if each.event["type"] == "issue.deleted"]
    assert sorted(event["data"]["id"] for event in deletions) == sorted((first, second, failing))
    actions = [entry["subject"] for entry in database.read_audit_log() if entry["action"] == "issue.erased"]
    assert actions == [first, second, failing]
    assert stack.cli("audit", "verify").stdout.endswith("\nintact\n")

    # Neither a repeated request nor a repeated import creates the issue again.
    body = {"title": f"The {WORD} panel is empty", "description": text["description"], "external": external}
    again = client.post(
        "/api/v1/issues", json={**body, "project": PROJECT}, headers={"Idempotency-Key": "the-first"}
    )
    assert assert_problem(again, 410)["detail"] == "The issue was erased."
    assert import_file(stack.api, ndjson(file[:1]))["skipped"] == 1
    assert_problem(client.get(f"/api/v1/issues/{first}"), 404)


def test_erased_project_leaves_no_text_and_no_other_project_changes(stack: Stack, database: Database) -> None:
    database.query(
        "INSERT INTO issue (id, title, description, project)"
        " SELECT gen_random_uuid(), 'The ' || %s || ' panel', %s, %s FROM generate_series(1, 450)",
        WORD,
        WORD,
        PROJECT,
    )
    deleted = stack.post(f"A deleted {WORD}", project=PROJECT)
    assert stack.api.client.delete(f"/api/v1/issues/{deleted}").status_code == 204
    other = stack.post("Of another project", project="acme/shop")

    done = stack.cli("projects", "erase", PROJECT, "--wait")

    assert (done.returncode, done.stdout) == (0, f"project {PROJECT} is erased\n"), done.stderr
    assert stack.find_remains() == (set(), set(), [])
    assert database.one("SELECT count(*) FROM erasure WHERE NOT is_project AND finished_at IS NOT NULL") == 451
    assert [issue["id"] for issue in stack.api.client.get("/api/v1/issues").json()["items"]] == [other]
    later = stack.post("Posted later", project=PROJECT)
    stack.prune(database)
    assert stack.api.client.get(f"/api/v1/issues/{later}").status_code == 200
    assert stack.cli("issues", "erase", later, "--wait").returncode == 0
    assert stack.cli("projects", "erase", PROJECT).returncode == 0, "a repeated erasure must succeed"


def test_issue_deleted_before_retention_is_erased(stack: Stack, database: Database) -> None:
    old, young = (stack.post(f"{age} {WORD if age == 'Old' else ''}") for age in ("Old", "Young"))
    wait_until(lambda: is_enriched(stack, old), "the enrichment")
    for issue_id, days in ((old, 31), (young, 29)):
        assert stack.api.client.delete(f"/api/v1/issues/{issue_id}").status_code == 204
        database.query("UPDATE issue SET deleted_at = now() - %s * interval '1 day' WHERE id = %s", days, issue_id)

    stack.prune(database)

    assert stack.find_remains() == (set(), set(), [])
    assert [row["id"] for row in database.query("SELECT id FROM issue")] == [young]
    (tombstone,) = database.query("SELECT id, actor, actor_id FROM erasure")
    assert tombstone == {"id": old, "actor": "retention", "actor_id": None}


def test_restored_issue_is_erased_again(stack: Stack, database: Database, tmp_path: Path) -> None:
    issue_id = stack.post(f"The {WORD} panel is empty")
    wait_until(lambda: is_enriched(stack, issue_id), "the enrichment")
    assert stack.cli("issues", "erase", issue_id, "--wait").returncode == 0
    newest = tmp_path / "newest.dump"
    assert run_backup_script(stack.servers, "save", str(newest)).returncode == 0
    # The state after a restore of an older backup.
    database.query("DELETE FROM erasure")
    database.query("INSERT INTO issue (id, title) VALUES (%s, %s)", issue_id, f"The {WORD} panel is empty")

    done = run_backup_script(stack.servers, "erasures", str(newest))

    assert (done.returncode, done.stdout) == (0, "erasures: 1 to repeat\n"), done.stderr
    finished = "SELECT actor FROM erasure WHERE finished_at IS NOT NULL"
    wait_until(lambda: database.query(finished) == [{"actor": "admin-token"}], "the erasure to end")
    assert stack.find_remains() == (set(), set(), [])
    missing = run_backup_script(stack.servers, "erasures", str(tmp_path / "none"))
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


def test_running_training_of_erased_issue_is_skipped_and_repeated(stack: Stack, database: Database) -> None:
    issue_id = stack.post(f"The {WORD} panel is empty", project=PROJECT)
    wait_until(lambda: is_enriched(stack, issue_id), "the enrichment")
    put_tags(stack.api, issue_id, "bug", "frontend")
    training = database.add_job(Task.RETRAIN, QUEUE_OF[Task.RETRAIN], project=PROJECT)
    wait_until(lambda: database.job(training)["state"] == "skipped", "the training without enough issues")
    # The state while another worker trains.
    database.query(
        "UPDATE job SET state = 'running', started_at = now(), finished_at = NULL, worker = 'other',"
        " lease_until = now() + interval '1 day' WHERE id = %s",
        training,
    )

    assert stack.cli("issues", "erase", issue_id, "--wait").returncode == 0

    assert database.job(training)["state"] == "skipped"
    assert database.job(training)["note"] == "an issue was erased"
    assert database.one("SELECT count(*) FROM job WHERE task = %s AND id <> %s", Task.RETRAIN, training) == 1


def test_model_of_previous_project_of_erased_issue_is_deleted(stack: Stack, database: Database) -> None:
    issue_id = stack.post(f"The {WORD} panel is empty", project=PROJECT)
    put_tags(stack.api, issue_id, "bug", "frontend")
    assert stack.api.client.patch(f"/api/v1/issues/{issue_id}", json={"project": "acme/shop"}).is_success
    projects = (PROJECT, "acme/shop", "acme/other")
    models = {project: new_id() for project in projects}
    for project, model in models.items():
        database.query(
            "INSERT INTO project_model (id, project, kind, base_version, parameters, sha256, examples, metrics)"
            " VALUES (%s, %s, 'type', '1', '', '', 10, '{}')",
            model,
            project,
        )
        database.query(
            "INSERT INTO active_model (project, kind, model_id) VALUES (%s, 'type', %s)", project, model
        )

    assert stack.cli("issues", "erase", issue_id, "--wait").returncode == 0

    active = database.query("SELECT project, model_id FROM active_model ORDER BY project")
    assert active == [
        {"project": PROJECT, "model_id": None},
        {"project": "acme/other", "model_id": str(models["acme/other"])},
        {"project": "acme/shop", "model_id": None},
    ]
    assert database.one("SELECT count(*) FROM project_model") == 1


def test_erasure_waits_for_running_import(stack: Stack, database: Database, servers: Servers) -> None:
    row = {"source": SOURCE, "external_id": "1", "title": f"The {WORD} panel"}
    import_file(stack.api, ndjson([row]))
    (issue_id,) = (issue["id"] for issue in stack.api.client.get("/api/v1/issues").json()["items"])
    with servers.superuser() as cursor:
        cursor.execute("BEGIN; SELECT pg_advisory_xact_lock(0x15500A7)")  # the lock of an importer that is busy
        rows = [row, {**row, "external_id": "2", "priority": WORD}]
        operation = post_import(stack.api, ndjson(rows)).json()["id"]
        assert stack.cli("issues", "erase", issue_id).returncode == 0
        stack.prune(database)

        assert_problem(stack.api.client.get(f"/api/v1/issues/{issue_id}"), 404)
        assert database.one("SELECT finished_at FROM erasure") is None
        cursor.execute("COMMIT")
    wait_until(lambda: database.one("SELECT finished_at FROM erasure") is not None, "the erasure to end")

    assert stack.find_remains() == (set(), set(), [])
    assert stack.api.client.get(f"/api/v1/operations/{operation}").json()["failed"] == 1


def test_repeated_request_during_erasure_is_accepted(stack: Stack, database: Database, servers: Servers) -> None:
    issue_id = stack.post(f"The {WORD} panel is empty", "key")
    url = f"/api/v1/erasures/{issue_id}"
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with servers.superuser() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute("BEGIN; SELECT FROM idempotent_answer FOR UPDATE")
        assert stack.api.client.put(url).status_code == 202
        wait_until(lambda: database.one(waiting) == 1, "the worker to wait for the stored response")
        repeated = pool.submit(stack.api.client.put, url)
        wait_until(lambda: database.one(waiting) == 2, "the second request to wait")
        cursor.execute("COMMIT")

        assert repeated.result().status_code == 202
    wait_until(lambda: database.one("SELECT finished_at FROM erasure") is not None, "the erasure to end")
    assert stack.find_remains() == (set(), set(), [])


def test_failing_erasure_does_not_stop_pruning(stack: Stack, database: Database) -> None:
    issue_id = stack.post("Cannot be erased")
    wait_until(lambda: is_enriched(stack, issue_id), "the enrichment")
    old = new_id()
    database.query(
        "INSERT INTO job (id, task, queue, message, state, finished_at)"
        " VALUES (%s, 'tests.ended', 'default', '{}', 'skipped', now() - interval '1 year')",
        old,
    )
    database.query("ALTER TABLE tag_feedback ADD COLUMN blocker uuid REFERENCES issue")
    database.query(
        "INSERT INTO tag_feedback (issue_id, tag, verdict, blocker) SELECT id, 'bug', 'accepted', id FROM issue"
    )
    try:
        assert stack.cli("issues", "erase", issue_id).returncode == 0
        wait_until(
            lambda: database.query("SELECT id FROM job WHERE id = %s", old) == [], "the pruning of the old job"
        )
    finally:
        database.query("ALTER TABLE tag_feedback DROP COLUMN blocker")


class TestErrors:
    def test_unknown_issue_is_rejected_with_404(self, stack: Stack) -> None:
        unknown = new_id()

        problem = assert_problem(stack.api.client.put(f"/api/v1/erasures/{unknown}"), 404)
        done = stack.cli("issues", "erase", str(unknown))

        assert problem["detail"] == f"Issue {unknown} does not exist."
        assert (done.returncode, done.stderr) == (2, f"issuetracker: Issue {unknown} does not exist.\n")
        assert_problem(stack.api.client.get(f"/api/v1/erasures/{unknown}"), 404)

    def test_project_without_issues_is_rejected_with_404(self, stack: Stack, database: Database) -> None:
        response = stack.api.client.put("/api/v1/erasures", json={"project": "acme/typo"})
        done = stack.cli("projects", "erase", "acme/typo")

        sentence = 'Project "acme/typo" has no issues. Use the name of a project with issues.'
        assert assert_problem(response, 404)["detail"] == sentence
        assert (done.returncode, done.stderr) == (2, f"issuetracker: {sentence}\n")
        assert database.one("SELECT count(*) FROM erasure") == 0

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({}, "project: This field is required."),
            ({"project": "Acme"}, 'project: "Acme" is not valid. Use up to 100 lower-case letters'),
            ({"project": "acme", "force": True}, "force: This field does not exist."),
        ],
    )
    def test_invalid_project_is_rejected_with_rule(self, body: dict[str, Any], message: str, stack: Stack) -> None:
        problem = assert_problem(stack.api.client.put("/api/v1/erasures", json=body), 422)

        assert message in str(problem["detail"])

    def test_issue_id_that_is_no_uuid_is_rejected(self, stack: Stack) -> None:
        problem = assert_problem(stack.api.client.put("/api/v1/erasures/12"), 422)
        done = stack.cli("issues", "erase", "12")

        assert 'erasure_id: "12" is not valid. Use a UUID' in str(problem["detail"])
        assert done.returncode == 2
        assert done.stderr.startswith('issuetracker: ID: "12" is not valid. Use a UUID')

    def test_token_without_scope_cannot_erase(self, stack: Stack, database: Database) -> None:
        issue_id = stack.post("Remains")
        writer = Tokens(stack.api).make("writer", "issues:read", "issues:write")["token"]
        eraser = Tokens(stack.api).make("eraser", "issues:erase")["token"]
        url = f"/api/v1/erasures/{issue_id}"

        problem = assert_problem(stack.api.client.put(url, headers=bearer(writer)), 403)
        accepted = stack.api.client.put(url, headers=bearer(eraser))

        assert "requires issues:erase" in str(problem["detail"])
        assert accepted.status_code == 202
        assert accepted.headers["location"] == url
        assert set(accepted.json()) == {"id", "requested_at", "finished_at"}
        assert database.one("SELECT actor FROM erasure") == "eraser"
        assert_problem(stack.api.client.get(f"/api/v1/issues/{issue_id}", headers=bearer(eraser)), 403)
