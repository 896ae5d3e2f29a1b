"""Dead letters over HTTP and in the CLI."""

import json
import subprocess
from typing import Any
from uuid import UUID

import pytest

from contracts.ids import new_id
from contracts.ledger.classes import PriorityClass
from contracts.names import Task
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.cli import run_cli, run_installed
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.tasks import TASK

SHORT = {"RETRY_DELAYS": "0.1,0.1", "DISPATCH_POLL_SECONDS": "0.1"}


def cli(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_cli(str(api.client.base_url), *arguments)


def add_dead_job(database: Database, error: str = "ConnectionError: away") -> UUID:
    job_id = database.add_job("tests.unconsumed")
    database.query(
        "UPDATE job SET state = 'dead', attempts = 4, tries = 4, finished_at = now(), last_error = %s "
        "WHERE id = %s",
        error,
        job_id,
    )
    database.query(
        "INSERT INTO job_failure (job_id, attempt, kind, worker, error, traceback, started_at) "
        "VALUES (%s, 4, 'transient', 'w@host', %s, 'Traceback ...', now())",
        job_id,
        error,
    )
    return job_id


def test_dead_letter_detail_contains_every_attempt(api: Api, database: Database) -> None:
    job_id = add_dead_job(database)

    (listed,) = api.client.get("/api/v1/dead-letters").json()["items"]
    detail = api.client.get(f"/api/v1/dead-letters/{job_id}").json()

    assert (listed["id"], listed["kind"], listed["attempts"]) == (str(job_id), "job", 4)
    assert listed["error"] == "ConnectionError: away"
    assert detail["message"]["job_id"] == str(job_id)
    (attempt,) = detail["failures"]
    assert (attempt["attempt"], attempt["kind"], attempt["worker"]) == (4, "transient", "w@host")
    assert attempt["traceback"] == "Traceback ..."


def test_dead_letter_list_is_paginated(api: Api, database: Database) -> None:
    jobs = [str(add_dead_job(database)) for _ in range(5)]

    seen, url = [], "/api/v1/dead-letters?limit=2"
    while url:
        page = api.client.get(url)
        seen += [letter["id"] for letter in page.json()["items"]]
        url = page.links["next"]["url"] if "next" in page.links else ""

    assert seen == jobs[::-1]


def test_replay_sent_twice_runs_job_once(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api(SHORT)
    new_worker(SHORT, app="tests.support.misbehaving_app")
    job_id = database.add_job(TASK, how="transient", until=4)
    database.wait_for_states({"dead": 1})
    assert database.job(job_id)["attempts"] == 3

    first = api.client.post(f"/api/v1/dead-letters/{job_id}/replay")
    second = api.client.post(f"/api/v1/dead-letters/{job_id}/replay")
    database.wait_for_states({"succeeded": 1})
    third = api.client.post(f"/api/v1/dead-letters/{job_id}/replay")

    assert [response.status_code for response in (first, second, third)] == [202, 202, 202]
    assert third.json()["state"] == "succeeded"
    assert database.query("SELECT attempt FROM effect") == [{"attempt": 4}]
    assert api.client.get("/api/v1/dead-letters").json()["items"] == []


def add_dead_message(database: Database, task: str, queue: str, **fields: object) -> UUID:
    letter_id, job_id = new_id(), new_id()
    raw = {"headers": {"task": task, "id": str(job_id)}, "message": {"job_id": str(job_id), **fields}}
    database.query(
        "INSERT INTO dead_message (id, digest, queue, reason, error, worker, raw) "
        "VALUES (%s, sha256(%s), %s, 'unknown_job', 'its job is not in the ledger', 'w@host', %s)",
        letter_id,
        letter_id.bytes,
        queue,
        json.dumps(raw).encode(),
    )
    return letter_id


def test_replay_of_message_from_foreign_queue_uses_queue_of_task(api: Api, database: Database) -> None:
    letter_id = add_dead_message(database, Task.RETRAIN, "someone-elses")

    assert api.client.post(f"/api/v1/dead-letters/{letter_id}/replay").status_code == 202

    assert database.one("SELECT queue FROM job WHERE task = %s", Task.RETRAIN) == "default"


@pytest.mark.parametrize("task", [Task.ENRICH_ISSUE, Task.INDEX_ISSUE])
def test_replay_of_message_keeps_class_and_project_of_its_issue(api: Api, database: Database, task: Task) -> None:
    issue = {"title": "Outage", "project": "shop", "priority": "critical"}
    issue_id = api.client.post("/api/v1/issues", json=issue).json()["id"]
    database.query("DELETE FROM job")
    letter_id = add_dead_message(database, task, "issues", issue_id=issue_id)

    assert api.client.post(f"/api/v1/dead-letters/{letter_id}/replay").status_code == 202

    (job,) = database.query("SELECT issue_id, project, priority_class FROM job")
    assert job == {"issue_id": issue_id, "project": "shop", "priority_class": PriorityClass.CRITICAL}


@pytest.mark.parametrize("issue_id", ["not an id", 7, None, "01930000-0000-7000-8000-000000000000"])
def test_replay_of_message_without_known_issue_has_class_background(
    api: Api, database: Database, issue_id: object
) -> None:
    letter_id = add_dead_message(database, Task.INDEX_ISSUE, "default", issue_id=issue_id)

    assert api.client.post(f"/api/v1/dead-letters/{letter_id}/replay").status_code == 202

    (job,) = database.query("SELECT issue_id, project, priority_class FROM job")
    assert job == {"issue_id": None, "project": "", "priority_class": PriorityClass.BACKGROUND}


def test_replay_of_message_for_unconsumed_queue_returns_409(api: Api, database: Database) -> None:
    letter_id = add_dead_message(database, "app.tasks.unknown", "someone-elses")

    response = api.client.post(f"/api/v1/dead-letters/{letter_id}/replay")

    assert response.status_code == 409
    assert "no queue that is consumed" in response.json()["detail"]
    assert api.client.get(f"/api/v1/dead-letters/{letter_id}").json()["state"] == "dead"


def test_discard_requires_and_stores_reason(api: Api, database: Database) -> None:
    job_id = add_dead_job(database)

    assert api.client.post(f"/api/v1/dead-letters/{job_id}/discard", json={}).status_code == 422
    assert api.client.post(f"/api/v1/dead-letters/{job_id}/discard", json={"reason": " "}).status_code == 422
    response = api.client.post(f"/api/v1/dead-letters/{job_id}/discard", json={"reason": "a test"})

    assert response.json()["state"] == "cancelled"
    assert database.job(job_id)["note"] == "a test"
    assert api.client.get("/api/v1/dead-letters").json()["items"] == []
    replay = api.client.post(f"/api/v1/dead-letters/{job_id}/replay")
    assert replay.json()["state"] == "cancelled", "a discarded job must not run again"


def test_dead_letter_decision_on_running_job_changes_nothing(api: Api, database: Database) -> None:
    job_id = database.add_job("tests.unconsumed")
    database.query("UPDATE job SET state = 'running', lease_until = now() + interval '1 h'")

    for action, body in (("replay", None), ("discard", {"reason": "no"})):
        response = api.client.post(f"/api/v1/dead-letters/{job_id}/{action}", json=body)
        assert response.json()["state"] == "running"


def test_unknown_dead_letter_returns_problem_404(api: Api) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("POST", "/replay", None),
        ("POST", "/discard", {"reason": "none"}),
    ):
        response = api.client.request(method, f"/api/v1/dead-letters/{new_id()}{path}", json=body)
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


def test_cli_lists_shows_replays_and_discards_dead_letters(api: Api, database: Database) -> None:
    one, other = add_dead_job(database, "one"), add_dead_job(database, "other")

    listed = cli(api, "dead-letters", "list")
    assert listed.returncode == 0
    assert str(one) in listed.stdout
    assert listed.stdout.endswith("2 dead letters\n")
    as_json: list[dict[str, Any]] = json.loads(cli(api, "dead-letters", "list", "--json").stdout)
    assert {letter["id"] for letter in as_json} == {str(one), str(other)}
    assert "Traceback ..." in cli(api, "dead-letters", "show", str(one)).stdout

    assert cli(api, "dead-letters", "replay", str(one)).stdout in {
        f"job {one} is pending\n",
        f"job {one} is queued\n",
    }
    discarded = cli(api, "dead-letters", "discard", str(other), "--reason", "a test")
    assert discarded.stdout == f"job {other} is cancelled\n"
    assert cli(api, "dead-letters", "list").stdout.endswith("0 dead letters\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("dead-letters", "replay", "seven"), 2, 'ID...: "seven" is not valid. Use a UUID'),
        (("dead-letters", "replay", "01a20614-800e-771f-862f-526a86f415ac"), 2, "does not exist"),
        (("dead-letters", "discard", "01a20614-800e-771f-862f-526a86f415ac"), 2, "--reason"),
    ],
)
def test_cli_with_invalid_arguments_prints_error_and_exits_with_code(
    api: Api, arguments: tuple[str, ...], code: int, message: str
) -> None:
    run = cli(api, *arguments)

    assert run.returncode == code
    assert message in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("http://127.0.0.1:1", 3, "Cannot reach http://127.0.0.1:1"),
        ("http://localhost:abc", 2, "ISSUETRACKER_URL"),
    ],
)
def test_cli_without_reachable_api_prints_one_line_and_exits_with_code(url: str, code: int, message: str) -> None:
    done = run_installed(url, "dead-letters", "list")

    assert done.returncode == code
    assert done.stderr.startswith(f"issuetracker: {message}")
    assert done.stderr.count("\n") == 1
