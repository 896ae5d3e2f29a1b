"""Batches of real workers: many jobs per message, and faults in the middle of a batch."""

import base64
import json
import signal
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import redis
from sqlalchemy import Engine

from app.ledger.followers import Follower, Followers
from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.ledger.classes import PriorityClass
from contracts.names import Task
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.latch import FileLatch
from tests.support.processes import Api, RunningProcess
from tests.support.servers import Servers
from tests.support.tasks import TASK
from tests.support.waiting import wait_until

APP = "tests.support.batch_app"
SETTINGS = {"RETRY_DELAYS": "0.1,0.1,0.1", "LEASE_SECONDS": "60", "WORKER_CONCURRENCY": "1", "QUEUE_BOUND": "1"}
"""One process and one message at first, so that all other jobs can follow it."""
ENRICHMENTS = f"task = '{Task.ENRICH_ISSUE}'"


@pytest.fixture
def latch(tmp_path: Path) -> FileLatch:
    tmp_path.chmod(0o755)
    return FileLatch(tmp_path)


@pytest.fixture
def start(new_api: ApiFactory, new_worker: WorkerFactory, latch: FileLatch) -> Callable[..., RunningProcess]:
    """Return a function that starts a worker; it also starts an API, unless one is running."""
    apis: list[Api] = []

    def start_worker(**env: str) -> RunningProcess:
        settings = {**SETTINGS, **latch.env, **env}
        if not apis:
            apis.append(new_api(settings))
        return new_worker(settings, app=APP)

    return start_worker


def add_issues(database: Database, *descriptions: str) -> list[UUID]:
    """Insert issues with their jobs, the first one the oldest; return the ids of the jobs."""
    jobs = []
    for number, description in enumerate(descriptions):
        issue_id, job_id = new_id(), new_id()
        title = f"Issue {number}"
        database.query(
            "INSERT INTO issue (id, title, description) VALUES (%s, %s, %s)", issue_id, title, description
        )
        message = {"contract_version": CONTRACT_VERSION, "job_id": str(job_id), "issue_id": str(issue_id)}
        database.query(
            "INSERT INTO job (id, task, queue, message, issue_id, run_at)"
            " VALUES (%s, %s, 'issues', %s, %s, now() - interval '1 hour' + %s * interval '1 s')",
            job_id,
            Task.ENRICH_ISSUE,
            json.dumps(message),
            issue_id,
            number,
        )
        jobs.append(job_id)
    return jobs


def attempts_of(database: Database, job_ids: list[UUID]) -> list[int]:
    return [database.job(job_id)["attempts"] for job_id in job_ids]


def assert_enriched_once(database: Database, number: int) -> None:
    """Each failure and each success is one attempt, and each issue has one result."""
    assert database.one("SELECT count(*) FROM issue WHERE ai_summary IS NOT NULL") == number
    assert database.query("SELECT issue_id FROM enrichment GROUP BY 1 HAVING count(*) > 1") == []
    assert database.one("SELECT count(*) FROM enrichment") == number
    wrong = f"""
    SELECT id FROM job WHERE {ENRICHMENTS}
        AND attempts - (state = 'succeeded')::int <> (SELECT count(*) FROM job_failure WHERE job_id = id)
    """
    assert database.query(wrong) == []


def sizes(worker: RunningProcess) -> list[int]:
    """Return the number of jobs of each batch."""
    return [entry["jobs"] for entry in entries_of(worker, "batch_ended")]


def entries_of(worker: RunningProcess, event: str) -> list[dict[str, Any]]:
    """Return the worker's log lines of an event."""
    lines = [line for line in worker.log.lines if f'"event": "{event}"' in line]
    return [json.loads(line[line.index("{") :]) for line in lines]


def child_of(worker: RunningProcess) -> psutil.Process:
    (child,) = psutil.Process(worker.process.pid).children()
    return child


def test_backlog_runs_in_batches_and_each_job_is_reported(
    start: Callable[..., RunningProcess], database: Database, servers: Servers
) -> None:
    jobs = [str(job_id) for job_id in add_issues(database, *["It fails."] * 100)]
    with redis.Redis(port=servers.redis_port) as client, client.pubsub() as events:
        events.psubscribe("*celeryev*")
        worker = start()
        database.wait_for_states({"succeeded": 100})
        wait_until(lambda: sum(sizes(worker)) >= 80, "the batches to be reported")

        seen: dict[str, list[str]] = defaultdict(list)

        def are_all_shown() -> bool:
            while (message := events.get_message(timeout=0.1)) is not None:
                if message["type"] == "pmessage":
                    body = json.loads(base64.b64decode(json.loads(message["data"])["body"]))
                    for event in body if isinstance(body, list) else [body]:
                        if "uuid" in event:
                            seen[event["uuid"]].append(event["type"])
            return all("task-succeeded" in seen[job_id] for job_id in jobs)

        wait_until(are_all_shown, "an event of the success of each job")
    assert_enriched_once(database, 100)
    assert set(attempts_of(database, [UUID(job_id) for job_id in jobs])) == {1}
    assert {tuple(sorted(seen[job_id])) for job_id in jobs} == {
        ("task-received", "task-started", "task-succeeded")
    }
    assert database.one("SELECT count(*) FROM job WHERE task = %s", Task.INDEX_ISSUE) == 100
    completed = Counter(entry["job_id"] for entry in entries_of(worker, "job_completed"))
    assert all(completed[job_id] == 1 for job_id in jobs)
    with redis.Redis(port=servers.redis_port, db=1) as results:

        def are_all_stored() -> bool:
            stored = [results.get(f"celery-task-meta-{job_id}") for job_id in jobs]
            return all(isinstance(raw, bytes) and json.loads(raw)["status"] == "SUCCESS" for raw in stored)

        wait_until(are_all_stored, "the result of each job")


def test_killed_process_fails_its_job_and_releases_others(
    start: Callable[..., RunningProcess], database: Database, latch: FileLatch
) -> None:
    """The lease of a minute has not expired: the main process releases the jobs."""
    jobs = add_issues(database, *["first"] * 20, "hold", *["later"] * 3)
    worker = start()
    latch.wait()
    # A few of the oldest jobs have messages of their own.
    assert database.states()["running"] >= 12

    child_of(worker).kill()
    latch.release()

    database.wait_for_states({"succeeded": 24})
    assert attempts_of(database, jobs) == [*[1] * 20, 2, 1, 1, 1]
    assert [failure["kind"] for failure in database.failures(jobs[20])] == ["lost"]
    assert_enriched_once(database, 24)


def test_jobs_of_killed_worker_are_done_by_next_worker(
    start: Callable[..., RunningProcess], database: Database, latch: FileLatch
) -> None:
    jobs = add_issues(database, *["first"] * 4, "hold", *["later"] * 7)
    worker = start(LEASE_SECONDS="2")
    latch.wait()

    worker.process.kill_group()
    latch.release()
    start(LEASE_SECONDS="2")

    database.wait_for_states({"succeeded": 12})
    assert max(attempts_of(database, jobs)) == 2, "no job is charged twice"
    assert_enriched_once(database, 12)


def test_poison_among_healthy_jobs_is_dead_and_charges_no_other(
    start: Callable[..., RunningProcess], database: Database
) -> None:
    jobs = add_issues(database, *["healthy"] * 40, "exit", *["healthy"] * 23)
    worker = start()

    database.wait_for_states({"succeeded": 63, "dead": 1})

    assert database.job(jobs[40])["attempts"] == 4
    assert {failure["kind"] for failure in database.failures(jobs[40])} == {"lost"}
    assert set(attempts_of(database, [*jobs[:40], *jobs[41:]])) == {1}
    assert_enriched_once(database, 63)
    assert worker.process.exit_code is None


def test_failed_job_leaves_batch_and_retries_alone(
    start: Callable[..., RunningProcess], database: Database, servers: Servers
) -> None:
    jobs = add_issues(database, "first", "bug", *["later"] * 6)
    start()

    database.wait_for_states({"succeeded": 7, "dead": 1})

    assert attempts_of(database, jobs) == [1, 4, 1, 1, 1, 1, 1, 1]
    assert {failure["kind"] for failure in database.failures(jobs[1])} == {"bug"}
    assert_enriched_once(database, 7)
    with redis.Redis(port=servers.redis_port, db=1) as results:

        def is_failed() -> bool:
            raw = results.get(f"celery-task-meta-{jobs[1]}")
            return isinstance(raw, bytes) and json.loads(raw)["status"] == "FAILURE"

        wait_until(is_failed, "Celery's result to be FAILURE")


def test_failed_lead_does_not_affect_its_followers(
    start: Callable[..., RunningProcess], database: Database
) -> None:
    jobs = add_issues(database, "bug", *["later"] * 7)
    start()

    database.wait_for_states({"succeeded": 7, "dead": 1})

    assert attempts_of(database, jobs) == [4, *[1] * 7]
    assert_enriched_once(database, 7)


def test_stopped_worker_ends_current_job_and_releases_others(
    start: Callable[..., RunningProcess], database: Database, latch: FileLatch
) -> None:
    jobs = add_issues(database, *["first"] * 4, "hold", *["later"] * 3)
    worker = start()
    latch.wait()

    worker.process.send(signal.SIGTERM)
    wait_until(lambda: worker.log.has("Warm shutdown"), "the worker to stop")
    latch.release()

    wait_until(lambda: worker.process.exit_code is not None, "the worker to end")
    assert worker.process.exit_code == 0
    # No job waits for a lease. Those that have messages of their own have not started either.
    assert attempts_of(database, jobs[4:]) == [1, 0, 0, 0]
    assert database.states().get("running", 0) == 0
    assert database.states()["succeeded"] == sum(attempts_of(database, jobs))
    start()
    database.wait_for_states({"succeeded": 8})
    assert set(attempts_of(database, jobs)) == {1}


def test_redis_wiped_during_batch_loses_no_job(
    start: Callable[..., RunningProcess], database: Database, latch: FileLatch, servers: Servers
) -> None:
    jobs = add_issues(database, *["first"] * 4, "hold", *["later"] * 17)
    start(LEASE_SECONDS="5")
    latch.wait()

    with redis.Redis(port=servers.redis_port) as client:
        client.flushall()
    latch.release()

    database.wait_for_states({"succeeded": 22})
    assert set(attempts_of(database, jobs)) == {1}
    assert_enriched_once(database, 22)


@pytest.fixture
def bad_result(database: Database):
    """Make the database reject, or delay, the results of issue 20."""

    def create(action: str) -> None:
        database.query(f"""
            CREATE OR REPLACE FUNCTION handle_bad() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF (SELECT title FROM issue WHERE id = NEW.issue_id) = 'Issue 20' THEN {action} END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER handle_bad BEFORE INSERT ON enrichment FOR EACH ROW EXECUTE FUNCTION handle_bad()
        """)

    yield create
    database.query("DROP TRIGGER IF EXISTS handle_bad ON enrichment; DROP FUNCTION IF EXISTS handle_bad")


def test_rejected_result_fails_only_its_job(
    start: Callable[..., RunningProcess], database: Database, bad_result: Callable[[str], None]
) -> None:
    bad_result("RAISE EXCEPTION 'not this one';")
    jobs = add_issues(database, *["text"] * 24)
    worker = start()

    database.wait_for_states({"succeeded": 23, "dead": 1})

    assert attempts_of(database, jobs) == [*[1] * 20, 4, 1, 1, 1]
    wait_until(lambda: worker.log.has("batch_ended_one_by_one"), "the batch to end")
    assert_enriched_once(database, 23)


def test_process_killed_during_commit_charges_lead_once(
    start: Callable[..., RunningProcess], database: Database, bad_result: Callable[[str], None]
) -> None:
    """Only the job of the message, so that a batch that kills its process cannot repeat for ever."""
    bad_result("PERFORM pg_sleep(4);")
    jobs = add_issues(database, *["text"] * 24)
    worker = start()
    busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT INTO enrichment%%'"
    wait_until(lambda: database.one(busy) == 1, "the commit of the batch")

    child_of(worker).kill()

    database.wait_for_states({"succeeded": 24})
    # Any of them may lead: several messages are published at once.
    assert sorted(attempts_of(database, jobs)) == [*[1] * 23, 2]
    assert_enriched_once(database, 24)


def add_job(database: Database, project: str, priority_class: PriorityClass, attempts: int = 0) -> UUID:
    job_id = database.add_job(TASK)
    database.query(
        "UPDATE job SET project = %s, priority_class = %s, attempts = %s, tries = %s WHERE id = %s",
        *(project, int(priority_class), attempts, attempts, job_id),
    )
    return job_id


def claim(engine: Engine, count: int, followers: Followers | None = None) -> list[Follower]:
    return (followers or Followers("issues", TASK)).claim(
        engine, count, "worker/1", timedelta(seconds=20), lambda _ids: None
    )


def projects_of(database: Database, found: list[Follower]) -> Counter[str]:
    return Counter(database.job(each.job_id)["project"] for each in found)


def test_followers_are_shared_between_projects(engine: Engine, database: Database) -> None:
    for project in ("first", "second"):
        for _ in range(10):
            add_job(database, project, PriorityClass.MEDIUM)
    followers = Followers("issues", TASK)

    found = [each for _ in range(3) for each in claim(engine, 4, followers)]

    assert projects_of(database, found) == {"first": 6, "second": 6}
    assert {database.job(each.job_id)["state"] for each in found} == {"running"}


def test_urgent_jobs_follow_first(engine: Engine, database: Database) -> None:
    for _ in range(5):
        add_job(database, "import", PriorityClass.BACKGROUND)
    urgent = {add_job(database, "shop", PriorityClass.CRITICAL) for _ in range(3)}

    assert {each.job_id for each in claim(engine, 3)} == urgent


def test_paused_limited_failed_and_other_jobs_do_not_follow(engine: Engine, database: Database) -> None:
    for project in ("paused", "limited", "free"):
        add_job(database, project, PriorityClass.MEDIUM)
    add_job(database, "free", PriorityClass.MEDIUM, attempts=1)
    database.add_job("tests.other")
    newer = database.add_job(TASK)
    database.query('UPDATE job SET message = message || \'{"contract_version": "9.0.0"}\' WHERE id = %s', newer)
    database.pause("project", "paused")
    database.query("INSERT INTO project_share (project, weight, running_max) VALUES ('limited', 1, 5)")

    assert projects_of(database, claim(engine, 10)) == {"free": 1}


def test_no_job_of_paused_queue_follows(engine: Engine, database: Database) -> None:
    add_job(database, "free", PriorityClass.MEDIUM)
    database.pause("queue", "issues")

    assert claim(engine, 10) == []
