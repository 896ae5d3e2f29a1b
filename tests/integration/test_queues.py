"""What waits, runs and has failed, as `GET /queues` and `issuetracker queues` tell it."""

import asyncio
import json
import os
import subprocess
from typing import Any

import asyncpg
import pytest
import redis

from api.database import Database as Pool
from api.database import open_database
from api.dispatch.broker import Broker
from api.queues.monitor import QueueMonitor
from api.settings import ApiSettings
from contracts.names import PRIORITY_SUFFIXES, Task
from devstack.network import wait_until
from tests.conftest import WorkerFactory
from tests.support.database import Database
from tests.support.processes import Api, tool
from tests.support.servers import Servers

ENRICH = Task.ENRICH_ISSUE


def read_state(api: Api) -> dict[str, Any]:
    answer = api.client.get("/api/v1/queues")
    assert answer.status_code == 200, answer.text
    state: dict[str, Any] = answer.json()
    return state


def queue(state: dict[str, Any], name: str = "issues") -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in state["queues"] if each["name"] == name)
    return found


def wait_for(api: Api, condition: Any, what: str) -> dict[str, Any]:
    """Return the first answer of which the condition holds: one may be a second old."""
    seen: list[dict[str, Any]] = []

    def holds() -> bool:
        seen[:] = [read_state(api)]
        return bool(condition(seen[0]))

    try:
        wait_until(holds, 30, what)
    except TimeoutError as error:
        raise AssertionError(f"{error}; {seen}") from None
    return seen[0]


def queues(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("issuetracker"), "queues", *arguments],
        env={**os.environ, "ISSUETRACKER_URL": str(api.client.base_url)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_state_is_told_of_its_queue(api: Api, database: Database, broker: redis.Redis) -> None:
    jobs = [database.add_job(ENRICH) for _ in range(6)]
    for job_id, change in zip(
        jobs,
        (
            "run_at = now() - interval '100 s'",
            "run_at = now() + interval '1 h'",
            "state = 'retrying', run_at = now() + interval '60 s'",
            "state = 'retrying', run_at = now() - interval '1 s'",
            "state = 'running', lease_until = now() + interval '1 h'",
            "state = 'dead'",
        ),
        strict=True,
    ):
        database.query(f"UPDATE job SET {change} WHERE id = %s", job_id)
    published = database.add_job(Task.RETRAIN, "default")
    database.query(
        "UPDATE job SET state = 'queued', lease_until = now() + interval '1 h' WHERE id = %s", published
    )
    database.query(
        "INSERT INTO circuit (task, provider, failures, last_error, open_until) "
        "VALUES (%s, 'a provider', 5, 'refused', now() + interval '1 h')",
        ENRICH,
    )
    for suffix in PRIORITY_SUFFIXES:
        broker.lpush(f"issues{suffix}", "a message")
    broker.hset("unacked", "tag", "a message")

    state = wait_for(api, lambda seen: queue(seen)["messages"] == 4 and queue(seen)["dead"], "all of it")
    broker.delete(*(f"issues{suffix}" for suffix in PRIORITY_SUFFIXES))

    issues, default = queue(state), queue(state, "default")
    assert issues["waiting"] == 3, "two that are due, a retry among them, and one that is planned"
    assert (issues["running"], issues["retrying"], issues["dead"]) == (1, 1, 1)
    assert 50 < issues["next_retry_s"] <= 60
    assert issues["oldest_due_s"] > 100
    assert (default["waiting"], default["running"], default["messages"]) == (1, 0, 0)
    assert (state["broker"], state["unacknowledged"]) == ("ok", 1)
    assert (issues["consumers"], issues["processes"]) == (0, 0), "no worker runs"
    (circuit,) = state["circuits"]
    assert (circuit["task"], circuit["provider"], circuit["error"]) == (ENRICH, "a provider", "refused")
    assert state["recent"] == {"issues": 0, "p95_s": None, "provider": None}


def test_a_worker_is_known_and_how_long_issues_take(api: Api, new_worker: WorkerFactory) -> None:
    new_worker({"WORKER_CONCURRENCY": "1"})
    for number in range(3):
        api.post(f"Crash number {number} on the login page")

    state = wait_for(api, lambda seen: seen["recent"]["issues"] == 3 and queue(seen)["consumers"], "their results")

    assert (queue(state)["consumers"], queue(state)["processes"]) == (1, 1)
    assert state["recent"]["provider"] == "local"
    assert 0 < state["recent"]["p95_s"] < 60
    assert queue(state)["oldest_due_s"] is None


def test_redis_stopped_is_an_answer(api: Api, servers: Servers) -> None:
    servers.valkey.stop()
    try:
        assert api.post("It is accepted").status_code == 201
        state = wait_for(
            api, lambda seen: seen["broker"] == "unreachable" and queue(seen)["waiting"], "the outage"
        )
        printed = queues(api)
    finally:
        servers.valkey.start()
    assert queue(state)["waiting"] == 1
    assert (state["unacknowledged"], queue(state)["messages"], queue(state)["consumers"]) == (None, None, None)
    assert printed.returncode == 0
    assert "Redis is unreachable: issues are accepted; enrichment waits." in printed.stdout
    wait_for(api, lambda seen: seen["broker"] == "ok", "Redis")


def test_the_command_prints_what_the_api_tells(api: Api, database: Database) -> None:
    database.add_job(ENRICH)
    database.query("UPDATE job SET state = 'dead'")
    wait_for(api, lambda seen: queue(seen)["dead"] == 1, "the dead job")

    printed = queues(api)
    header, issues, default, *notes = printed.stdout.splitlines()

    assert printed.returncode == 0, printed.stderr
    assert header.split() == ["QUEUE", "MESSAGES", "WAITING", "RUNNING", "RETRYING", "DEAD", "OLDEST", "WORKERS"]
    assert issues.split() == ["issues", "0", "0", "0", "0", "1", "-", "0"]
    assert default.split()[0] == "default"
    assert notes == ["No worker runs: issues are accepted; enrichment waits."]
    assert json.loads(queues(api, "--json").stdout).keys() == read_state(api).keys()

    refused = queues(api, "--watch")
    assert refused.returncode == 2
    assert refused.stderr.startswith("issuetracker: --watch is for a terminal")


class CountingPool(Pool):
    """The API's connections, and how often they were asked."""

    asked = 0

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        self.asked += 1
        return await super().fetch(sql, *values)


@pytest.mark.usefixtures("database")
def test_however_many_ask_at_once_it_is_looked_at_once(servers: Servers) -> None:
    settings = ApiSettings.model_validate(
        {"database_url": servers.database_url, "celery_broker_url": servers.env["CELERY_BROKER_URL"]}
    )

    async def ask(number: int) -> int:
        async with open_database(settings) as opened, Broker(settings.celery_broker_url) as broker:
            counting = CountingPool(opened._pool)
            watch = QueueMonitor(settings, counting, broker)
            answers = await asyncio.gather(*(watch.read_state() for _ in range(number)))
            assert all(answer is answers[0] for answer in answers)
            return counting.asked

    assert asyncio.run(ask(100)) == asyncio.run(ask(1))
