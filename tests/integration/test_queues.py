"""The state of the queues in `GET /queues` and `issuetracker queues`."""

import asyncio
import json
import subprocess
from typing import Any

import asyncpg
import pytest
import redis

from api.database import Database as Pool
from api.database import open_database
from api.dispatch.broker import Broker
from api.dispatch.limits import RecentLimits
from api.queues.monitor import QueueMonitor
from api.settings import ApiSettings
from contracts.names import PRIORITY_SUFFIXES, Task
from tests.conftest import WorkerFactory
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.metrics import exporter, scrape_exporter
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.waiting import DEADLINE_S, wait_until

ENRICH = Task.ENRICH_ISSUE


def read_state(api: Api) -> dict[str, Any]:
    response = api.client.get("/api/v1/queues")
    assert response.status_code == 200, response.text
    state: dict[str, Any] = response.json()
    return state


def queue_of(state: dict[str, Any], name: str = "issues") -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in state["queues"] if item["name"] == name)
    return found


def wait_for(api: Api, condition: Any, description: str) -> dict[str, Any]:
    """Return the first state that meets the condition. A state may be one second old."""
    seen: list[dict[str, Any]] = []

    def holds() -> bool:
        seen[:] = [read_state(api)]
        return bool(condition(seen[0]))

    wait_until(holds, lambda: f"{description}, seen {seen}")
    return seen[0]


def run_queues_command(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_cli(str(api.client.base_url), "queues", *arguments)


def test_waiting_jobs_are_counted_by_class_and_project(
    api: Api, database: Database, servers: Servers, broker: redis.Redis
) -> None:
    """In the API, the command and the metrics; of the projects, the ten with the most."""
    # The dispatcher leaves jobs of an open circuit breaker in the ledger.
    database.query(
        "INSERT INTO circuit (task, provider, failures, last_error, open_until) "
        "VALUES ('tests.unconsumed', 'a provider', 5, 'an error', now() + interval '1 h')"
    )
    database.query(
        "INSERT INTO job (id, task, queue, message, project, priority_class) SELECT gen_random_uuid(), "
        "'tests.unconsumed', 'issues', '{}', 'project-' || project, mod(project, 2) "
        "FROM generate_series(1, 12) AS project CROSS JOIN LATERAL generate_series(1, project)"
    )
    most = {f"project-{number}": number for number in range(12, 2, -1)}

    state = wait_for(api, lambda state: len(state["projects"]) == len(most), "waiting jobs")
    with exporter(servers) as port:
        metrics_of_exporter = scrape_exporter(port)

    assert {each["name"]: each["waiting"] for each in state["projects"]} == most
    classes = {each["name"]: each["waiting"] for each in state["classes"]}
    assert classes == {"critical": 42, "high": 36, "medium": 0, "low": 0, "background": 0}
    assert "Waiting by class: critical 42, high 36" in run_queues_command(api).stdout
    assert metrics_of_exporter.by("waiting_jobs_class", "class") == {("critical",): 42, ("high",): 36}
    by_project = {(name,): number for name, number in most.items()}
    assert metrics_of_exporter.by("waiting_jobs_project", "project") == by_project


def test_queue_state_contains_counts_of_every_job_state(api: Api, database: Database, broker: redis.Redis) -> None:
    jobs = [database.add_job(ENRICH) for _ in range(6)]
    for job_id, change in zip(
        jobs,
        (
            "run_at = now() - interval '100 s'",
            "run_at = now() + interval '1 h'",
            "state = 'retrying', run_at = now() + interval '30 min'",
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

    state = wait_for(
        api,
        lambda seen: queue_of(seen)["messages"] == 4 and queue_of(seen)["dead"],
        "the messages and the dead job",
    )
    broker.delete(*(f"issues{suffix}" for suffix in PRIORITY_SUFFIXES))

    issues, default = queue_of(state), queue_of(state, "default")
    assert issues["waiting"] == 3, "expected two due jobs, one of them a retry, and one scheduled job"
    assert (issues["running"], issues["retrying"], issues["dead"]) == (1, 1, 1)
    assert 1000 < issues["next_retry_s"] <= 1800
    assert issues["oldest_due_s"] > 100
    assert (default["waiting"], default["running"], default["messages"]) == (1, 0, 0)
    assert (state["broker"], state["unacknowledged"]) == ("ok", 1)
    assert (issues["consumers"], issues["processes"]) == (0, 0), "no worker may be counted"
    (circuit,) = state["circuits"]
    assert (circuit["task"], circuit["provider"], circuit["error"]) == (ENRICH, "a provider", "refused")
    assert state["recent"] == {"issues": 0, "p95_s": None, "provider": None}


def test_queue_state_contains_consumers_and_recent_durations(api: Api, new_worker: WorkerFactory) -> None:
    new_worker({"WORKER_CONCURRENCY": "1"})
    for number in range(3):
        api.post(f"Crash number {number} on the login page")

    state = wait_for(
        api,
        lambda seen: (
            seen["recent"]["issues"] == 3
            and queue_of(seen)["consumers"]
            and queue_of(seen)["oldest_due_s"] is None  # counted before the results
        ),
        "the results of the issues",
    )

    assert (queue_of(state)["consumers"], queue_of(state)["processes"]) == (1, 1)
    assert state["recent"]["provider"] == "local"
    assert 0 < state["recent"]["p95_s"] < DEADLINE_S


def test_queue_state_without_redis_reports_unreachable_broker(api: Api, servers: Servers) -> None:
    servers.valkey.stop()
    try:
        assert api.post("During the outage").status_code == 201
        state = wait_for(
            api, lambda seen: seen["broker"] == "unreachable" and queue_of(seen)["waiting"], "the outage"
        )
        printed = run_queues_command(api)
    finally:
        servers.valkey.start()
    assert queue_of(state)["waiting"] == 1
    assert (state["unacknowledged"], queue_of(state)["messages"], queue_of(state)["consumers"]) == (
        None,
        None,
        None,
    )
    assert printed.returncode == 0
    assert "Redis is unreachable. Issues are accepted, but enrichment waits." in printed.stdout
    wait_for(api, lambda seen: seen["broker"] == "ok", "Redis to be reachable")


def test_queues_command_prints_state_of_api(api: Api, database: Database) -> None:
    # In one statement, because a dispatcher may be running.
    database.query(
        "INSERT INTO job (id, task, queue, message, state) VALUES (gen_random_uuid(), %s, 'issues', '{}', 'dead')",
        ENRICH,
    )
    # The API may return the state of the test before: a state is up to 1 s old, its projects up to 10 s.
    wait_for(
        api,
        lambda seen: (queue_of(seen)["dead"], queue_of(seen)["messages"], seen["projects"]) == (1, 0, []),
        "only the dead job",
    )

    printed = run_queues_command(api)
    header, issues, default, *notes = printed.stdout.splitlines()

    assert printed.returncode == 0, printed.stderr
    assert header.split() == ["QUEUE", "MESSAGES", "WAITING", "RUNNING", "RETRYING", "DEAD", "OLDEST", "WORKERS"]
    assert issues.split() == ["issues", "0", "0", "0", "0", "1", "-", "0"]
    assert default.split()[0] == "default"
    assert notes == ["No worker is running. Issues are accepted, but enrichment waits."]
    assert json.loads(run_queues_command(api, "--json").stdout).keys() == read_state(api).keys()

    rejected = run_queues_command(api, "--watch")
    assert rejected.returncode == 2
    assert rejected.stderr.startswith("issuetracker: --watch requires a terminal")


class CountingPool(Pool):
    """The connection pool of the API, with a counter of its queries."""

    queries = 0

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        self.queries += 1
        return await super().fetch(sql, *values)


@pytest.mark.usefixtures("database")
def test_queue_state_for_concurrent_requests_is_read_once(servers: Servers) -> None:
    settings = ApiSettings.model_validate(
        {"database_url": servers.database_url, "celery_broker_url": servers.env["CELERY_BROKER_URL"]}
    )

    async def count_queries(number: int) -> int:
        async with open_database(settings) as database, Broker(settings.celery_broker_url) as broker:
            pool = CountingPool(database._pool)
            monitor = QueueMonitor(settings, pool, broker, RecentLimits())
            states = await asyncio.gather(*(monitor.read_state() for _ in range(number)))
            assert all(response is states[0] for response in states)
            return pool.queries

    assert asyncio.run(count_queries(100)) == asyncio.run(count_queries(1))
