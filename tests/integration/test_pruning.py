"""History is pruned: what is old and over goes, what somebody may still need stays."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import redis

from app import pruning
from contracts.names import QUEUE_OF, Task
from contracts.states import ENDED_STATES, DeadMessageState, JobState
from devstack.network import free_port, wait_until
from tests.conftest import STOP_TIMEOUT_S
from tests.support.database import Database
from tests.support.metrics import scrape
from tests.support.processes import Api, start_api, start_worker
from tests.support.servers import Servers

KEPT = timedelta(days=7)
"""As the tests' worker has it."""
OLD = "8 days"
YOUNG = "6 days"

_MAKE_JOB = """
WITH new_job AS (
    INSERT INTO job (id, task, queue, message, issue_id, state, run_at, lease_until, finished_at)
    VALUES (gen_random_uuid(), %s, %s, '{}', %s, %s, now() + interval '1 day',
        CASE WHEN %s IN ('queued', 'running') THEN now() + interval '1 day' END, now() - %s::interval)
    RETURNING id
), failure AS (
    INSERT INTO job_failure (job_id, attempt, kind, error, failed_at)
    SELECT id, 1, 'transient', 'OSError: unreachable', now() - %s::interval FROM new_job
)
SELECT id FROM new_job
"""
_MAKE_DELIVERIES = """
WITH new_job AS (
    INSERT INTO job (id, task, queue, message, run_at)
    SELECT gen_random_uuid(), 'app.tasks.webhooks.deliver', 'default', '{}', now() + interval '1 day'
    FROM generate_series(1, %s)
    RETURNING id
)
INSERT INTO webhook_delivery (job_id, webhook_id, event) SELECT id, %s, 'issue.created' FROM new_job
"""
_MAKE_IMPORT = """
INSERT INTO operation (id, state, format, is_dry_run, actor, finished_at)
VALUES (gen_random_uuid(), 'finished', 'csv', false, 'somebody', now() - %s::interval) RETURNING id
"""
_MAKE_MESSAGE = """
INSERT INTO dead_message (id, digest, queue, reason, error, worker, raw, state, decided_at)
VALUES (gen_random_uuid(), sha256(%s::bytea), 'issues', 'undecodable', 'no JSON', 'worker', '', %s,
    now() - %s::interval)
RETURNING id
"""


def make_job(
    database: Database, task: Task, state: JobState, ended_ago: str | None, issue_id: str | None = None
) -> str:
    """Insert a job that ended so long ago, after a failed attempt; open states have not ended but are as old."""
    ended = ended_ago if state in ENDED_STATES | {JobState.DEAD} else None
    made = database.one(_MAKE_JOB, task, QUEUE_OF[task], issue_id, state, state, ended, ended_ago)
    return str(made)


def ids(database: Database, table: str) -> set[str]:
    column = "job_id" if table == "job_failure" else "id"
    return {str(row[column]) for row in database.query(f"SELECT {column} FROM {table}")}


@dataclass
class Stack:
    """An API and a worker of this module's own."""

    api: Api
    metrics_port: int

    def prune(self, database: Database) -> None:
        """Have everything pruned that is due."""
        job = database.add_job(Task.PRUNE, QUEUE_OF[Task.PRUNE])
        wait_until(lambda: database.job(job)["state"] == "succeeded", 60, "the pruning to end")


@pytest.fixture(scope="module")
def module_stack(servers: Servers) -> Iterator[Stack]:
    port = free_port()
    api = start_api({**servers.env, "DISPATCH_POLL_SECONDS": "0.1"})
    settings = {"HISTORY_DAYS": str(KEPT.days), "METRICS_PORT": str(port)}
    worker = start_worker({**servers.env, **settings}, "pruning")
    yield Stack(api, port)
    api.client.close()
    api.process.stop(STOP_TIMEOUT_S)
    worker.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def stack(module_stack: Stack, database: Database, broker: redis.Redis) -> Stack:
    del database, broker
    return module_stack


def test_what_is_old_and_over_goes_and_all_else_stays(stack: Stack, database: Database) -> None:
    issue = stack.api.post("The old one").json()["id"]
    database.wait_for_states({"succeeded": 1})
    run = str(database.one("SELECT id FROM job WHERE task = %s", Task.ENRICH_ISSUE))
    database.query("UPDATE job SET finished_at = now() - %s::interval WHERE id = %s", OLD, run)
    old = {make_job(database, Task.INDEX_ISSUE, state, OLD) for state in ENDED_STATES}
    kept = {make_job(database, Task.INDEX_ISSUE, state, OLD) for state in set(JobState) - ENDED_STATES}
    kept |= {make_job(database, Task.INDEX_ISSUE, state, YOUNG) for state in ENDED_STATES}
    cancelled_run = make_job(database, Task.ENRICH_ISSUE, JobState.CANCELLED, OLD, issue)
    imports = {age: str(database.one(_MAKE_IMPORT, age)) for age in (OLD, YOUNG)}
    messages = {state: str(database.one(_MAKE_MESSAGE, state, state, OLD)) for state in DeadMessageState}
    before = scrape(stack.metrics_port).by("pruned_rows_total", "table")

    stack.prune(database)

    left = ids(database, "job")
    assert left >= kept | {run, cancelled_run}
    assert not left & old
    assert ids(database, "job_failure") == kept, "a run that is kept needs no tracebacks of old"
    assert ids(database, "operation") == {imports[YOUNG]}
    # The stack may have kept a message of what a test before it left behind.
    dead = ids(database, "dead_message") & set(messages.values())
    assert dead == {messages[DeadMessageState.DEAD]}, "the others are decided on"
    url = f"/api/v1/issues/{issue}"
    runs = stack.api.client.get(f"{url}/enrichments").json()["items"]
    assert {each["id"] for each in runs} == {run, cancelled_run}
    assert stack.api.client.get(f"{url}/enrichment").json()["job_id"] == run
    told = scrape(stack.metrics_port)
    assert told.by("pruned_rows_total", "table") - before == {
        ("job",): 3,
        ("job_failure",): 1,
        ("operation",): 1,
        ("dead_message",): 2,
    }
    assert {table for (table,) in told.series("pruned_rows_total", "table")} == set(pruning.STATEMENTS)


def test_a_deleted_webhook_leaves_nothing_behind_however_much_waited(stack: Stack, database: Database) -> None:
    made, other = (
        stack.api.client.post(
            "/api/v1/webhooks", json={"url": "https://hooks.example.com/issues", "events": ["issue.deleted"]}
        ).json()["id"]
        for _ in range(2)
    )
    several_batches = 2 * pruning.BATCH + 1
    database.query(_MAKE_DELIVERIES, several_batches, made)
    database.query(_MAKE_DELIVERIES, 3, other)

    assert stack.api.client.delete(f"/api/v1/webhooks/{made}").status_code == 204

    database.wait_for_states({"skipped": several_batches, "pending": 3, "succeeded": 1})
    assert stack.api.client.get(f"/api/v1/webhooks/{made}/deliveries").status_code == 404
    assert database.query("SELECT webhook_id, count(*) FROM webhook_delivery GROUP BY 1") == [
        {"webhook_id": other, "count": 3}
    ]
    notes = database.query("SELECT DISTINCT note FROM job WHERE state = 'skipped'")
    assert notes == [{"note": "the webhook was deleted"}]
