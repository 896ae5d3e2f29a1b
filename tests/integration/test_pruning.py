"""Pruning deletes old ended rows and keeps all rows that are still needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import redis

from app import pruning
from contracts.ledger.states import ENDED_STATES
from contracts.names import QUEUE_OF, Task
from contracts.states import DeadMessageState, JobState
from tests.conftest import STOP_TIMEOUT_S
from tests.support.database import Database
from tests.support.metrics import scrape
from tests.support.ports import free_port
from tests.support.processes import Api, start_api, start_worker
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("pruning")

HISTORY_PERIOD = timedelta(days=7)
"""The setting of the worker in these tests."""
OLD_AGE = "8 days"
YOUNG_AGE = "6 days"

_INSERT_JOB = """
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
_INSERT_DELIVERIES = """
WITH new_job AS (
    INSERT INTO job (id, task, queue, message, run_at)
    SELECT gen_random_uuid(), 'app.tasks.webhooks.deliver', 'default', '{}', now() + interval '1 day'
    FROM generate_series(1, %s)
    RETURNING id
)
INSERT INTO webhook_delivery (job_id, webhook_id, event) SELECT id, %s, 'issue.created' FROM new_job
"""
_INSERT_IMPORT = """
INSERT INTO operation (id, state, format, is_dry_run, actor, finished_at)
VALUES (gen_random_uuid(), 'finished', 'csv', false, 'a-token', now() - %s::interval) RETURNING id
"""
_INSERT_MESSAGE = """
INSERT INTO dead_message (id, digest, queue, reason, error, worker, raw, state, decided_at)
VALUES (gen_random_uuid(), sha256(%s::bytea), 'issues', 'undecodable', 'no JSON', 'worker', '', %s,
    now() - %s::interval)
RETURNING id
"""


def add_ended_job(
    database: Database, task: Task, state: JobState, ended_ago: str | None, issue_id: str | None = None
) -> str:
    """Insert a job with a failed attempt that ended `ended_ago`. Open jobs have the same age and no end."""
    ended = ended_ago if state in ENDED_STATES | {JobState.DEAD} else None
    created = database.one(_INSERT_JOB, task, QUEUE_OF[task], issue_id, state, state, ended, ended_ago)
    return str(created)


def ids(database: Database, table: str) -> set[str]:
    column = "job_id" if table == "job_failure" else "id"
    return {str(row[column]) for row in database.query(f"SELECT {column} FROM {table}")}


@dataclass
class Stack:
    """The API and the worker of this module."""

    api: Api
    metrics_port: int

    def prune(self, database: Database) -> None:
        """Run one pruning job."""
        job = database.add_job(Task.PRUNE, QUEUE_OF[Task.PRUNE])
        wait_until(lambda: database.job(job)["state"] == "succeeded", "the pruning to end")


@pytest.fixture(scope="module")
def module_stack(servers: Servers) -> Iterator[Stack]:
    port = free_port()
    api = start_api({**servers.env, "DISPATCH_POLL_SECONDS": "0.1"})
    settings = {"HISTORY_DAYS": str(HISTORY_PERIOD.days), "METRICS_PORT": str(port)}
    worker = start_worker({**servers.env, **settings}, "pruning")
    yield Stack(api, port)
    api.client.close()
    api.process.stop(STOP_TIMEOUT_S)
    worker.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def stack(module_stack: Stack, database: Database, broker: redis.Redis) -> Stack:
    del database, broker
    return module_stack


def test_pruning_deletes_only_old_ended_rows(stack: Stack, database: Database) -> None:
    issue = stack.api.post("The old one").json()["id"]
    database.wait_for_states({"succeeded": 1})
    run = str(database.one("SELECT id FROM job WHERE task = %s", Task.ENRICH_ISSUE))
    database.query("UPDATE job SET finished_at = now() - %s::interval WHERE id = %s", OLD_AGE, run)
    old = {add_ended_job(database, Task.INDEX_ISSUE, state, OLD_AGE) for state in ENDED_STATES}
    # The run of an erased issue.
    old |= {add_ended_job(database, Task.ENRICH_ISSUE, JobState.SUCCEEDED, OLD_AGE)}
    kept = {add_ended_job(database, Task.INDEX_ISSUE, state, OLD_AGE) for state in set(JobState) - ENDED_STATES}
    kept |= {add_ended_job(database, Task.INDEX_ISSUE, state, YOUNG_AGE) for state in ENDED_STATES}
    cancelled_run = add_ended_job(database, Task.ENRICH_ISSUE, JobState.CANCELLED, OLD_AGE, issue)
    imports = {age: str(database.one(_INSERT_IMPORT, age)) for age in (OLD_AGE, YOUNG_AGE)}
    messages = {state: str(database.one(_INSERT_MESSAGE, state, state, OLD_AGE)) for state in DeadMessageState}
    before = scrape(stack.metrics_port).by("pruned_rows_total", "table")

    stack.prune(database)

    remaining = ids(database, "job")
    assert remaining >= kept | {run, cancelled_run}
    assert not remaining & old
    assert ids(database, "job_failure") == kept, "old tracebacks of kept runs must be deleted"
    assert ids(database, "operation") == {imports[YOUNG_AGE]}
    # The worker may have stored a message of a previous test.
    dead = ids(database, "dead_message") & set(messages.values())
    assert dead == {messages[DeadMessageState.DEAD]}, "messages with a decision must be deleted"
    url = f"/api/v1/issues/{issue}"
    runs = stack.api.client.get(f"{url}/enrichments").json()["items"]
    assert {run_item["id"] for run_item in runs} == {run, cancelled_run}
    assert stack.api.client.get(f"{url}/enrichment").json()["job_id"] == run
    metrics = scrape(stack.metrics_port)
    assert metrics.by("pruned_rows_total", "table") - before == {
        ("job",): 4,
        ("job_failure",): 1,
        ("operation",): 1,
        ("dead_message",): 2,
    }
    assert {table for (table,) in metrics.series("pruned_rows_total", "table")} == {*pruning.STATEMENTS, "issue"}


def test_deleted_webhook_skips_all_pending_deliveries(stack: Stack, database: Database) -> None:
    created, other = (
        stack.api.client.post(
            "/api/v1/webhooks", json={"url": "https://hooks.example.com/issues", "events": ["issue.deleted"]}
        ).json()["id"]
        for _ in range(2)
    )
    several_batches = 2 * pruning.BATCH + 1
    database.query(_INSERT_DELIVERIES, several_batches, created)
    database.query(_INSERT_DELIVERIES, 3, other)

    assert stack.api.client.delete(f"/api/v1/webhooks/{created}").status_code == 204

    database.wait_for_states({"skipped": several_batches, "pending": 3, "succeeded": 1})
    assert stack.api.client.get(f"/api/v1/webhooks/{created}/deliveries").status_code == 404
    assert database.query("SELECT webhook_id, count(*) FROM webhook_delivery GROUP BY 1") == [
        {"webhook_id": other, "count": 3}
    ]
    notes = database.query("SELECT DISTINCT note FROM job WHERE state = 'skipped'")
    assert notes == [{"note": "the webhook was deleted"}]
