"""Schedules: the API, the commands, and their runs by concurrent dispatchers."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api.database import Database as ApiDatabase
from api.database import open_database
from api.dispatch.schedules import run_due
from api.settings import ApiSettings
from contracts.ledger.classes import PriorityClass
from contracts.messages import Prune
from contracts.names import Task
from tests.integration.test_issues_api import assert_problem
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.schedules import add_schedule, make_due
from tests.support.servers import Servers

SCHEDULES = "/api/v1/schedules"
SETTINGS = ApiSettings(database_url="postgresql://unused@localhost/unused")


@pytest.fixture
def prune(database: Database) -> str:
    """Return the name of a disabled schedule."""
    add_schedule(database, "prune", "0 * * * *")
    return "prune"


@pytest.fixture
async def pool(servers: Servers, database: Database) -> AsyncIterator[ApiDatabase]:
    del database
    async with open_database(ApiSettings(database_url=servers.database_url)) as pool:
        yield pool


def row(database: Database, name: str) -> dict[str, Any]:
    (found,) = database.query("SELECT *, now() FROM schedule WHERE name = %s", name)
    return found


@pytest.mark.anyio
async def test_due_schedule_with_many_dispatchers_creates_one_job(
    pool: ApiDatabase, database: Database, prune: str
) -> None:
    make_due(database, prune)

    created = await asyncio.gather(*(run_due(pool, SETTINGS) for _ in range(10)))

    (job,) = database.query("SELECT * FROM job")
    assert sorted(created) == [False] * 9 + [True]
    assert (job["task"], job["queue"], job["state"]) == (Task.PRUNE, "default", "pending")
    assert job["priority_class"] == PriorityClass.BACKGROUND
    assert str(Prune.model_validate(job["message"]).job_id) == job["id"] == row(database, prune)["last_job_id"]


@pytest.mark.anyio
async def test_runs_missed_in_outage_happen_once(pool: ApiDatabase, database: Database, prune: str) -> None:
    database.query("UPDATE schedule SET next_run_at = now() - interval '3 days'")

    assert [await run_due(pool, SETTINGS) for _ in range(2)] == [True, False]

    schedule = row(database, prune)
    assert timedelta() < schedule["next_run_at"] - schedule["now"] <= timedelta(hours=1)
    assert schedule["last_run_at"] <= schedule["now"]


@pytest.mark.anyio
async def test_run_while_last_job_is_unfinished_creates_none(
    pool: ApiDatabase, database: Database, prune: str
) -> None:
    created = []
    for state in ("pending", "dead", "succeeded"):
        make_due(database, prune)
        created.append(await run_due(pool, SETTINGS))
        database.query("UPDATE job SET state = %s", state)

    assert created == [True, False, True]


@pytest.mark.anyio
async def test_disabled_and_unknown_schedules_create_no_job(
    pool: ApiDatabase, database: Database, prune: str
) -> None:
    add_schedule(database, "of-newer-release")
    make_due(database, "of-newer-release")

    assert not await run_due(pool, SETTINGS)
    assert database.states() == {}
    assert row(database, prune)["last_run_at"] is None


@pytest.mark.anyio
async def test_schedule_that_fails_stops_no_other(pool: ApiDatabase, database: Database, prune: str) -> None:
    add_schedule(database, "retrain", zone="Atlantis/Capital")
    database.query("UPDATE schedule SET next_run_at = now() - interval '1 h' WHERE name = 'retrain'")
    make_due(database, prune)

    assert await run_due(pool, SETTINGS)
    assert database.states() == {"pending": 1}
    assert row(database, "retrain")["last_run_at"] is None


def test_change_is_stored_and_audited_once(api: Api, database: Database, prune: str) -> None:
    settings = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "enabled": True}
    first, again = (api.client.put(f"{SCHEDULES}/{prune}", json=settings) for _ in range(2))
    disabled = api.client.put(f"{SCHEDULES}/{prune}", json={"cron": "0 4 * * *", "enabled": False})

    schedule = first.json()
    next_run = datetime.fromisoformat(schedule["next_run_at"])
    assert next_run > datetime.now(UTC)
    assert (next_run.hour, next_run.minute) in {(0, 30), (1, 0), (1, 30)}
    assert schedule == {
        "name": "prune",
        "task": Task.PRUNE,
        **settings,
        "next_run_at": schedule["next_run_at"],
        "last_run_at": None,
        "last_job_id": None,
        "last_job_state": None,
    }
    assert again.json() == schedule
    expected = {"cron": "0 4 * * *", "time_zone": "UTC", "enabled": False, "next_run_at": None}
    assert disabled.json() == schedule | expected
    assert api.client.get(SCHEDULES).json() == {"items": [disabled.json()]}
    assert database.read_audit_log() == [
        {"action": "schedule.changed", "subject": "prune", "detail": settings},
        {
            "action": "schedule.changed",
            "subject": "prune",
            "detail": {"cron": "0 4 * * *", "time_zone": "UTC", "enabled": False},
        },
    ]


def test_change_during_run_sets_run_after_it(api: Api, database: Database, prune: str) -> None:
    # The transaction of the change began before that of the run, for which it waited.
    database.query("UPDATE schedule SET last_run_at = now() + interval '1 day'")

    changed = api.client.put(f"{SCHEDULES}/{prune}", json={"cron": "*/5 * * * *"}).json()

    assert changed["next_run_at"] > changed["last_run_at"]


def test_last_job_is_shown_until_it_is_pruned(api: Api, database: Database, prune: str) -> None:
    del prune
    database.pause("queue", "default")  # no dispatcher may publish the job
    job_id = database.add_job(Task.PRUNE, "default")
    database.query("UPDATE schedule SET last_job_id = %s, last_run_at = now()", job_id)

    (shown,) = api.client.get(SCHEDULES).json()["items"]
    database.query("DELETE FROM job")
    (later,) = api.client.get(SCHEDULES).json()["items"]

    assert (UUID(shown["last_job_id"]), shown["last_job_state"]) == (job_id, "pending")
    assert (later["last_job_id"], later["last_job_state"]) == (None, None)


@pytest.mark.parametrize(
    ("name", "body", "detail"),
    [
        ("backup", {"cron": "0 * * * *"}, 'name: "backup" is not valid. Use prune or retrain.'),
        ("prune", {"cron": "61 * * * *"}, 'cron: "61 * * * *" is not valid. Use a valid minute.'),
        ("prune", {"cron": "@daily"}, 'cron: "@daily" is not valid. Use five fields: minute, hour, '),
        ("prune", {"cron": "0 0 */31 2 1#2"}, 'cron: "0 0 */31 2 1#2" is not valid. Use a date that occurs.'),
        ("prune", {"cron": 5}, "cron: 5 is not valid. Use a string."),
        ("prune", {"cron": "0" * 101}, "cron: The text is too long. Use at most 100 characters."),
        ("prune", {}, "cron: This field is required."),
        (
            "prune",
            {"cron": "0 * * * *", "time_zone": "Berlin"},
            'time_zone: "Berlin" is not valid. Use the name of an IANA time zone such as Europe/Berlin or UTC.',
        ),
        ("prune", {"cron": "0 * * * *", "enabled": "no"}, 'enabled: "no" is not valid. Use true or false.'),
        ("prune", {"cron": "0 * * * *", "zone": "UTC"}, "zone: This field does not exist."),
    ],
)
def test_change_with_wrong_value_is_rejected_with_rule(
    api: Api, database: Database, prune: str, name: str, body: dict[str, Any], detail: str
) -> None:
    del prune
    response = api.client.put(f"{SCHEDULES}/{name}", json=body)

    assert str(assert_problem(response, 422)["detail"]).startswith(detail)
    assert database.read_audit_log() == []


def test_schedule_without_row_is_created_by_command(api: Api, database: Database) -> None:
    created = run_cli(str(api.client.base_url), "schedules", "set", "retrain", "--cron", "0 * * * *")

    assert (created.returncode, created.stderr) == (0, "")
    (row,) = database.query("SELECT name, cron, time_zone, next_run_at > now() AS is_enabled FROM schedule")
    assert row == {"name": "retrain", "cron": "0 * * * *", "time_zone": "UTC", "is_enabled": True}
    assert [entry["action"] for entry in database.read_audit_log()] == ["schedule.changed"]


def test_commands_show_and_change_schedules(api: Api, prune: str) -> None:
    url = str(api.client.base_url)
    changed = run_cli(url, "schedules", "set", prune, "--cron", "0 3 * * *", "--enable")
    listed = run_cli(url, "schedules", "list")
    disabled = run_cli(url, "schedules", "set", prune, "--disable", "--json")

    assert (changed.returncode, changed.stderr) == (0, "")
    assert changed.stdout.startswith("prune: 0 3 * * * in UTC, next run 20")
    assert changed.stdout.endswith("T03:00:00\n")
    header, line = listed.stdout.splitlines()
    assert header.split() == ["NAME", "CRON", "TIME", "ZONE", "NEXT", "RUN", "LAST", "RUN", "LAST", "JOB"]
    assert line.startswith("prune")
    assert json.loads(disabled.stdout)["cron"] == "0 3 * * *"
    assert json.loads(disabled.stdout)["next_run_at"] is None
    assert "disabled" in run_cli(url, "schedules", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prune",), "Use at least one of --cron, --time-zone, --enable and --disable."),
        (("prune", "--cron", "0 25 * * *"), 'cron: "0 25 * * *" is not valid. Use a valid hour.'),
        (("backup", "--disable"), 'name: "backup" is not valid. Use prune or retrain.'),
        (("", "--disable"), 'name: "" is not valid. Use prune or retrain.'),
        (("retrain", "--disable"), "cron: This field is required."),
    ],
)
def test_command_with_wrong_value_prints_one_line_and_exits_2(
    api: Api, prune: str, arguments: tuple[str, ...], message: str
) -> None:
    del prune
    done = run_cli(str(api.client.base_url), "schedules", "set", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"issuetracker: {message}")
    assert done.stderr.count("\n") == 1
