"""Real workers: enrichment, failing tasks and killed processes."""

import json
import signal

import pytest
import redis

from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.tasks import TASK
from tests.support.waiting import DEADLINE_S, wait_until

MISBEHAVING = "tests.support.misbehaving_app"
# Retries and leases short enough to wait for.
SHORT = {"RETRY_DELAYS": "0.1,0.1,0.1", "LEASE_SECONDS": "2", "DISPATCH_POLL_SECONDS": "0.1"}


def wait_for_result(servers: Servers, job_id: object, status: str) -> None:
    """Wait for the result in `celery-task-meta-<task_id>`, which Celery writes after the ledger."""
    with redis.Redis(port=servers.redis_port, db=1) as results:

        def has_status() -> bool:
            raw = results.get(f"celery-task-meta-{job_id}")
            return isinstance(raw, bytes) and json.loads(raw)["status"] == status

        wait_until(has_status, f"Celery's result to be {status}")


def test_posted_issue_is_enriched(
    api: Api, new_worker: WorkerFactory, database: Database, servers: Servers
) -> None:
    new_worker({})
    response = api.post(
        "Login button not working",
        description="The login button on the homepage does not respond to clicks.",
        priority="high",
    )
    database.wait_for_states({"succeeded": 1})

    issue = api.client.get(response.headers["location"]).json()
    assert issue["ai_summary"].startswith("AI Summary: Login button not working")
    assert issue["tags"] == ["bug", "frontend"]
    expected = {"status": "succeeded", "attempts": 1, "next_retry_at": None, "started_at": None, "error": None}
    assert issue["enrichment"] == expected
    assert issue["updated_at"] > issue["created_at"]
    (row,) = database.query("SELECT tags, tag_list FROM issue")
    assert row == {"tags": "bug,frontend", "tag_list": ["bug", "frontend"]}
    (enrichment,) = database.query("SELECT * FROM enrichment")
    assert [tag["name"] for tag in enrichment["tags"]] == ["bug", "frontend"]
    assert all(0 < tag["confidence"] < 1 for tag in enrichment["tags"])
    assert enrichment["provenance"]["provider"] == "local"
    wait_for_result(servers, enrichment["job_id"], "SUCCESS")


def test_job_of_deleted_issue_is_skipped(api: Api, new_worker: WorkerFactory, database: Database) -> None:
    issue_id = api.post("Deleted at once").json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")
    database.query("DELETE FROM issue WHERE id = %s", issue_id)

    new_worker({})

    database.wait_for_states({"skipped": 1})
    assert database.one("SELECT count(*) FROM job_failure") == 0


def test_task_with_transient_error_is_retried_and_succeeds(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, servers: Servers
) -> None:
    new_api(SHORT)
    new_worker(SHORT, app=MISBEHAVING)
    job_id = database.add_job(TASK, how="transient", until=3)

    database.wait_for_states({"succeeded": 1})

    assert database.job(job_id)["attempts"] == 3
    assert database.query("SELECT attempt FROM effect") == [{"attempt": 3}]
    failures = database.failures(job_id)
    assert [failure["kind"] for failure in failures] == ["transient", "transient"]
    assert "provider is down" in failures[0]["error"]
    assert "Traceback" in failures[0]["traceback"]
    wait_for_result(servers, job_id, "SUCCESS")


def test_task_waiting_for_retry_has_result_retry(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, servers: Servers, broker: redis.Redis
) -> None:
    new_api(SHORT)
    new_worker({**SHORT, "RETRY_DELAYS": "3600"}, app=MISBEHAVING)
    job_id = database.add_job(TASK, how="transient")

    database.wait_for_states({"retrying": 1})

    wait_for_result(servers, job_id, "RETRY")
    # The ledger stores the schedule, so the broker has no message.
    wait_until(lambda: broker.hlen("unacked") == 0, "the message to be acknowledged")
    assert broker.llen("issues") == 0


@pytest.mark.parametrize(("how", "attempts", "kind"), [("bug", 4, "bug"), ("permanent", 1, "permanent")])
def test_task_that_always_fails_is_dead_with_error(
    how: str,
    attempts: int,
    kind: str,
    new_api: ApiFactory,
    new_worker: WorkerFactory,
    database: Database,
    servers: Servers,
) -> None:
    new_api(SHORT)
    new_worker(SHORT, app=MISBEHAVING)
    job_id = database.add_job(TASK, how=how)

    database.wait_for_states({"dead": 1})

    job = database.job(job_id)
    assert job["attempts"] == attempts
    assert [failure["kind"] for failure in database.failures(job_id)] == [kind] * attempts
    wait_for_result(servers, job_id, "FAILURE")
    assert database.one("SELECT count(*) FROM effect") == 0


@pytest.mark.parametrize("how", ["exit", "segfault"])
def test_task_that_kills_its_process_is_dead_and_others_succeed(
    how: str, new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    """The worker records each attempt when the process dies, long before the lease of one minute expires."""
    env = {**SHORT, "LEASE_SECONDS": "60"}
    new_api(env)
    worker = new_worker(env, app=MISBEHAVING)
    poison = database.add_job(TASK, how=how)
    for _ in range(20):
        database.add_job(TASK)

    database.wait_for_states({"succeeded": 20, "dead": 1})

    assert database.job(poison)["attempts"] == 4
    failures = database.failures(poison)
    assert {failure["kind"] for failure in failures} == {"lost"}
    assert all("exited prematurely" in failure["error"] for failure in failures)
    assert worker.process.exit_code is None


def test_task_longer_than_lease_runs_once(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    # A busy machine may delay a renewal for seconds.
    env = {**SHORT, "LEASE_SECONDS": "5"}
    new_api(env)
    for name in ("one", "two"):
        new_worker(env, name, MISBEHAVING)
    job_id = database.add_job(TASK, seconds=11)

    database.wait_for_states({"succeeded": 1})

    assert database.job(job_id)["attempts"] == 1


def test_jobs_of_killed_worker_are_done_by_next_worker(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api(SHORT)
    first = new_worker(SHORT)
    for number in range(60):
        assert api.post(f"Issue {number}").status_code == 201
        if number == 30:
            wait_until(lambda: database.states().get("succeeded", 0) > 0, "the first results")
            first.process.kill_group()

    new_worker(SHORT)

    database.wait_for_states({"succeeded": 60})
    assert database.one("SELECT count(*) FROM issue WHERE ai_summary IS NULL") == 0
    assert database.one("SELECT count(*) FROM enrichment") == 60


def test_worker_frozen_past_its_lease_writes_nothing(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    """A frozen worker resumes after another worker has done its job."""
    new_api(SHORT)
    frozen_worker = new_worker({**SHORT, "WORKER_CONCURRENCY": "1"}, "frozen", MISBEHAVING)
    job_id = database.add_job(TASK, seconds=5)
    database.wait_for_states({"running": 1})
    frozen_worker.process.send_group(signal.SIGSTOP)
    database.query("UPDATE job SET message = message - 'seconds'")
    new_worker(SHORT, "second", MISBEHAVING)
    database.wait_for_states({"succeeded": 1})

    frozen_worker.process.send_group(signal.SIGCONT)

    wait_until(lambda: frozen_worker.log.has("lease_lost"), "the frozen worker to log lease_lost")
    assert database.query("SELECT attempt FROM effect") == [{"attempt": 2}]
    assert database.job(job_id)["worker"].startswith("second@")


def test_worker_on_shutdown_finishes_running_job(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    new_api(SHORT)
    worker = new_worker(SHORT, app=MISBEHAVING)
    job_id = database.add_job(TASK, seconds=3)
    database.wait_for_states({"running": 1})

    assert worker.process.stop(DEADLINE_S)

    assert worker.process.exit_code == 0
    job = database.job(job_id)
    assert (job["state"], job["attempts"]) == ("succeeded", 1)


def test_message_delivered_twice_has_one_effect(
    new_worker: WorkerFactory, api: Api, database: Database, broker: redis.Redis
) -> None:
    api.post("Delivered twice")
    wait_until(lambda: broker.llen("issues") == 1, "the message to be published")
    (message,) = broker.lrange("issues", 0, -1)
    broker.lpush("issues", message, message)

    worker = new_worker({})

    database.wait_for_states({"succeeded": 1})
    wait_until(lambda: broker.llen("issues") == 0, "the copies to be received")
    wait_until(
        lambda: sum("duplicate_message_dropped" in line for line in worker.log.lines) == 2,
        "both copies to be dropped",
    )
    assert database.one("SELECT count(*) FROM enrichment") == 1
