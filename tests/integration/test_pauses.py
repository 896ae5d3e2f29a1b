"""Pauses of a queue, a task and a project: the API, the commands, and what waits."""

import asyncio
import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from api.database import open_database
from api.dispatch.ledger import claim_due, find_lanes
from api.settings import ApiSettings
from contracts.ledger.classes import PriorityClass
from contracts.ledger.fair_share import Allocation
from contracts.names import Task
from tests.conftest import ApiFactory, WorkerFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.latch import FileLatch
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.tasks import HELD_TASK
from tests.support.waiting import wait_until

SHOP = "acme/shop"
PAUSES = "/api/v1/pauses"
KINDS = [("queue", "issues"), ("task", Task.ENRICH_ISSUE.value), ("project", SHOP)]


def cli(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_cli(str(api.client.base_url), *arguments)


def test_pause_is_stored_and_audited_once(api: Api, database: Database) -> None:
    reason = "The import had wrong priorities"
    first, again = (
        api.client.put(f"{PAUSES}/project/{name}", json={"reason": reason}) for name in (SHOP, "acme%2Fshop")
    )
    listed = api.client.get(PAUSES)
    changed = api.client.put(f"{PAUSES}/project/{SHOP}")
    ended = [api.client.delete(f"{PAUSES}/project/{SHOP}").status_code for _ in range(2)]

    pause = first.json()
    assert {**pause, "paused_at": None} == {
        "kind": "project",
        "name": SHOP,
        "reason": reason,
        "paused_at": None,
        "paused_by": "anonymous",
    }
    assert again.json() == pause
    assert listed.json() == {"items": [pause]}
    assert changed.json() == {**pause, "reason": None}
    assert ended == [204, 204]
    assert api.client.get(PAUSES).json() == {"items": []}
    assert database.read_audit_log() == [
        {"action": "project.paused", "subject": SHOP, "detail": {"reason": reason}},
        {"action": "project.paused", "subject": SHOP, "detail": {"reason": None}},
        {"action": "project.resumed", "subject": SHOP, "detail": {}},
    ]


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("colour/issues", {}, 'kind: "colour" is not valid. Use queue, task or project.'),
        ("queue/urgent", {}, 'name: "urgent" is not valid. Use issues or default.'),
        ("task/enrich", {}, f'name: "enrich" is not valid. Use {Task.ENRICH_ISSUE}, '),
        ("project/Shop", {}, 'name: "Shop" is not valid. Use up to 100 lower-case letters, digits and . _ / -'),
        ("project/", {}, 'name: "" is not valid. Use up to 100 lower-case letters, digits and . _ / -'),
        ("project/%2E%2E", {}, 'name: ".." is not valid. Use up to 100 lower-case letters, digits and . _ / -'),
        ("queue/issues", {"reason": " "}, "reason: The text is empty. Use at least 1 character."),
        ("queue/issues", {"reason": "x" * 501}, "reason: The text is too long. Use at most 500 characters."),
        ("queue/issues", {"why": "x"}, "why: This field does not exist."),
    ],
)
def test_pause_with_invalid_field_is_rejected(
    path: str, body: dict[str, str], detail: str, api: Api, database: Database
) -> None:
    responses = [api.client.put(f"{PAUSES}/{path}", json=body)]
    if not body:
        responses.append(api.client.delete(f"{PAUSES}/{path}"))

    for response in responses:
        assert str(assert_problem(response, 422)["detail"]).startswith(detail)
    assert database.one("SELECT count(*) FROM pause") == 0


def test_pause_of_task_of_other_release_can_be_deleted(api: Api, database: Database) -> None:
    database.pause("task", "app.tasks.removed")

    assert api.client.delete(f"{PAUSES}/task/app.tasks.removed").status_code == 204
    assert database.one("SELECT count(*) FROM pause") == 0


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_paused_job_is_published_after_resume(
    kind: str, name: str, api: Api, database: Database, broker: redis.Redis
) -> None:
    assert api.client.put(f"{PAUSES}/{kind}/{name}").status_code == 200
    assert api.post("It waits", project=SHOP).status_code == 201
    # The dispatcher looks at the queue of the issue first.
    assert api.client.post("/api/v1/models/train", json={"project": "default"}).status_code == 202
    wait_until(lambda: broker.llen("default") == 1, "the other job to be published")

    assert broker.llen("issues") == 0
    assert database.states() == {"pending": 1, "queued": 1}
    assert api.client.delete(f"{PAUSES}/{kind}/{name}").status_code == 204
    wait_until(lambda: broker.llen("issues") == 1, "the resumed job to be published")


@pytest.mark.parametrize(("kind", "name"), [("queue", "elsewhere"), *KINDS[1:]])
def test_lane_found_before_pause_is_not_claimed(
    kind: str, name: str, servers: Servers, database: Database
) -> None:
    """The dispatcher uses the result of a search for a while. No dispatcher publishes the job of this queue."""
    job_id = database.add_job(Task.ENRICH_ISSUE, "elsewhere")
    database.query("UPDATE job SET project = %s WHERE id = %s", SHOP, job_id)
    settings = ApiSettings.model_validate({"database_url": servers.database_url})

    async def claim() -> Any:
        async with open_database(settings) as pool:
            (lane,), _ = await find_lanes(pool, "elsewhere", dict.fromkeys(PriorityClass, ("", "")))
            database.pause(kind, name)
            found, _ = await find_lanes(pool, "elsewhere", dict.fromkeys(PriorityClass, ("", "")))
            jobs, missing = await claim_due(pool, "elsewhere", [Allocation(lane, 1)], timedelta(seconds=20))
        return found, jobs, missing == {lane: 1}

    assert asyncio.run(claim()) == ([], [], True)


def test_pauses_commands_create_list_and_delete_pause(api: Api) -> None:
    created = cli(api, "pauses", "create", "project", SHOP, "--reason", "The import had\nwrong \x1b priorities")
    listed = cli(api, "pauses", "list")
    as_json = cli(api, "pauses", "list", "--json")
    printed: list[str] = []

    def is_noted() -> bool:
        printed[:] = cli(api, "queues").stdout.splitlines()
        return any("paused" in line for line in printed)

    wait_until(is_noted, "the pause in the state of the queues")

    assert created.stdout == f"project {SHOP} is paused\n"
    (pause,) = json.loads(as_json.stdout)
    header, row = listed.stdout.splitlines()
    assert header.split() == ["KIND", "NAME", "SINCE", "BY", "REASON"]
    since = pause["paused_at"][:19]
    reason = "The import had wrong \N{REPLACEMENT CHARACTER} priorities"
    assert row.split() == ["project", SHOP, since, "anonymous", *reason.split()]
    assert f"Project {SHOP} is paused since {since} by anonymous: {reason}" in printed
    for _ in range(2):
        assert cli(api, "pauses", "delete", "project", SHOP).stdout == f"project {SHOP} is resumed\n"
    assert json.loads(cli(api, "pauses", "list", "--json").stdout) == []


@pytest.mark.parametrize("command", ["create", "delete"])
@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("colour", "issues", "colour"),
        ("queue", "urgent", 'name: "urgent" is not valid. Use issues or default.'),
        ("project", "..", 'name: ".." is not valid. Use up to 100 lower-case letters'),
        ("project", "", 'name: "" is not valid. Use up to 100 lower-case letters'),
    ],
)
def test_pauses_command_with_invalid_name_prints_one_line(
    command: str, kind: str, name: str, message: str, api: Api
) -> None:
    run = cli(api, "pauses", command, kind, name)

    assert run.returncode == 2, run.stderr
    (line,) = run.stderr.splitlines()
    assert message in line


def add_held_job(database: Database, queue: str, project: str = "") -> None:
    database.query(
        "INSERT INTO job (id, task, queue, message, project)"
        " SELECT id, %s, %s, jsonb_build_object('contract_version', '1.0.0', 'job_id', id), %s"
        " FROM (SELECT gen_random_uuid() AS id) AS made",
        *(HELD_TASK, queue, project),
    )


def test_paused_jobs_wait_through_every_fault_and_run_after_resume(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis, tmp_path: Path
) -> None:
    """One job of a queue, a task and a project each runs during the pause, and four of each wait."""
    latch = FileLatch(tmp_path)
    env = {**latch.env, "LEASE_SECONDS": "10", "WORKER_CONCURRENCY": "3"}
    pauses = [("queue", "default"), ("task", Task.ENRICH_ISSUE.value), ("project", SHOP)]
    api = new_api(env)
    worker = new_worker(env, app="tests.support.held_app")
    free_jobs = 0

    def add_jobs(count: int) -> None:
        for number in range(count):
            add_held_job(database, "default")
            assert api.post(f"Issue {number}").status_code == 201
            add_held_job(database, "issues", SHOP)

    def expect_only_free_jobs_run() -> None:
        nonlocal free_jobs
        free_jobs += 1
        add_held_job(database, "issues", "free")
        database.wait_for_states({"succeeded": 3 + free_jobs, "pending": 12})

    add_jobs(1)
    database.wait_for_states({"running": 3})
    add_jobs(4)
    published = "SELECT count(DISTINCT (queue, task)) FROM job WHERE state = 'queued'"
    wait_until(lambda: database.one(published) == 3, "published jobs of each kind")
    for kind, name in pauses:
        assert cli(api, "pauses", "create", kind, name).returncode == 0

    latch.release()
    database.wait_for_states({"succeeded": 3, "pending": 12})
    expect_only_free_jobs_run()
    broker.flushall()
    expect_only_free_jobs_run()
    api.process.kill_group()  # with its dispatcher
    api = new_api(env)
    expect_only_free_jobs_run()
    worker.process.kill_group()
    new_worker(env, app="tests.support.held_app")
    expect_only_free_jobs_run()

    assert database.one("SELECT sum(attempts) FROM job WHERE state = 'pending'") == 0
    assert len(api.client.get(PAUSES).json()["items"]) == len(pauses)
    for kind, name in pauses:
        assert api.client.delete(f"{PAUSES}/{kind}/{name}").status_code == 204
    # The jobs that index the issues waited too.
    wait_until(
        lambda: database.one("SELECT count(*) FROM job WHERE state <> 'succeeded'") == 0,
        lambda: f"every job to succeed; the states are {database.states()}",
    )
    assert database.query("SELECT DISTINCT attempts FROM job") == [{"attempts": 1}]
