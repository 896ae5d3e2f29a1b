"""Redis and PostgreSQL going away under a busy worker: it stays, and all work is done, with no hand on it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import redis

from devstack.network import wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.processes import Api, Running
from tests.support.servers import Servers
from tests.support.tasks import TASK

MISBEHAVING = "tests.support.misbehaving_app"
SHORT = {"RETRY_DELAYS": "0.5,0.5,0.5", "LEASE_SECONDS": "3", "DISPATCH_POLL_SECONDS": "0.1"}


@pytest.fixture
def api(new_api: ApiFactory) -> Api:
    return new_api(SHORT)


@pytest.fixture
def worker(new_worker: WorkerFactory) -> Running:
    return new_worker(SHORT, app=MISBEHAVING)


@contextmanager
def all_done(database: Database, worker: Running, jobs: int) -> Iterator[None]:
    """Add jobs, some of them long, run the body while they are worked on, and expect each done once."""
    for number in range(jobs):
        database.add_job(TASK, seconds=2 if number % 5 == 0 else 0.05)
    wait_until(lambda: database.states().get("running", 0) > 0, 30, "the first job to run")
    yield
    database.wait_for_states({"succeeded": jobs}, 120)
    assert database.one("SELECT count(*) FROM effect") == jobs
    assert database.one("SELECT count(DISTINCT job_id) FROM effect") == jobs
    assert worker.process.exit_code is None, str(worker.log)


def test_redis_restarted_with_its_file(api: Api, worker: Running, database: Database, servers: Servers) -> None:
    """Celery 5.7.0's worker exits here: it holds a message and has a free slot."""
    with all_done(database, worker, 20):
        servers.valkey.stop()
        servers.valkey.start()
        assert api.post("After the restart").status_code == 201
        database.query("DELETE FROM job WHERE task <> %s", TASK)


def test_redis_killed_with_a_busy_and_a_free_slot(
    api: Api, worker: Running, database: Database, servers: Servers
) -> None:
    del api
    for _ in range(3):
        with all_done(database, worker, 1):
            servers.valkey_process.kill_group()
            servers.valkey.start()
        database.query("DELETE FROM job; DELETE FROM effect")


def test_redis_restarted_empty(
    api: Api, worker: Running, database: Database, servers: Servers, broker: redis.Redis
) -> None:
    del api
    with all_done(database, worker, 20):
        broker.config_set("appendonly", "no")
        servers.valkey.stop()
        servers.valkey.forget()
        servers.valkey.start()
        assert broker.llen("issues") == 0


def test_redis_wiped(api: Api, worker: Running, database: Database, broker: redis.Redis) -> None:
    del api
    with all_done(database, worker, 20):
        broker.flushall()


def test_redis_down_while_tasks_succeed_fail_and_retry(
    api: Api, worker: Running, database: Database, servers: Servers
) -> None:
    done = database.add_job(TASK, seconds=2)
    retried = database.add_job(TASK, seconds=1, how="transient", until=2)
    wait_until(lambda: database.states().get("running", 0) == 2, 30, "both to run")
    servers.valkey.stop()
    try:
        dead = database.add_job(TASK, how="permanent")
        assert api.post("While it is down").status_code == 201
        wait_until(lambda: database.job(done)["state"] == "succeeded", 30, "the end of what was held")
        wait_until(lambda: database.job(retried)["state"] in {"retrying", "pending"}, 30, "the planned retry")
    finally:
        servers.valkey.start()

    database.wait_for_states({"succeeded": 3, "dead": 1}, 120)
    assert database.job(dead)["attempts"] == 1
    assert worker.process.exit_code is None


def test_redis_frozen(api: Api, worker: Running, database: Database, servers: Servers) -> None:
    with all_done(database, worker, 10):
        servers.valkey_process.send_group(signal.SIGSTOP)
        try:
            for number in range(5):
                assert api.post(f"While it is frozen {number}").status_code == 201
        finally:
            servers.valkey_process.send_group(signal.SIGCONT)
        wait_until(lambda: database.one("SELECT count(ai_summary) FROM issue") == 5, 60, "their enrichment")
        database.query("DELETE FROM job WHERE task <> %s", TASK)


def test_every_connection_to_redis_cut(api: Api, worker: Running, database: Database, broker: redis.Redis) -> None:
    del api
    with all_done(database, worker, 20):
        for _ in range(3):
            broker.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_redis_full(api: Api, worker: Running, database: Database, broker: redis.Redis) -> None:
    with all_done(database, worker, 10):
        broker.config_set("maxmemory", "1")
        try:
            assert api.post("While it is full").status_code == 201
            wait_until(lambda: worker.log.has("OOM") or worker.log.has("OutOfMemory"), 30, "the worker to notice")
        finally:
            broker.config_set("maxmemory", "0")
        wait_until(lambda: database.one("SELECT count(ai_summary) FROM issue") == 1, 60, "its enrichment")
        database.query("DELETE FROM job WHERE task <> %s", TASK)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_postgresql_restarted(
    how: signal.Signals, api: Api, worker: Running, database: Database, servers: Servers
) -> None:
    """A fast stop, an immediate stop, and a kill of the whole server, under load."""
    with all_done(database, worker, 20):
        if how is signal.SIGKILL:
            servers.postgres_process.kill_group()
        else:
            servers.postgres_process.send(how)
            servers.postgres_process.wait(60)
        assert api.post("While it is down").status_code == 503
        servers.postgres.start()
    wait_until(lambda: api.post("After it").status_code == 201, 30, "the API")


def test_postgresql_out_of_connections(api: Api, worker: Running, database: Database, servers: Servers) -> None:
    database.add_job(TASK, seconds=3)
    database.wait_for_states({"running": 1})
    database.close()
    with servers.superuser() as cursor:
        cursor.execute("ALTER ROLE issuetracker CONNECTION LIMIT 0")
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'issuetracker'")
        try:
            answer = api.post("No connection left")
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
            ready = api.client.get("/readyz")
            assert ready.status_code == 503
        finally:
            cursor.execute("ALTER ROLE issuetracker CONNECTION LIMIT -1")

    wait_until(lambda: api.post("After it").status_code == 201, 30, "the API")
    database.wait_for_states({"succeeded": 2}, 120)
    assert database.one("SELECT count(*) FROM issue WHERE title = 'No connection left'") == 0
    assert worker.process.exit_code is None


def test_api_killed_between_commit_and_publish(
    new_api: ApiFactory, worker: Running, database: Database, servers: Servers
) -> None:
    api = new_api(SHORT)
    servers.valkey.stop()
    try:
        assert api.post("Committed, never published").status_code == 201
        api.process.kill_group()
    finally:
        servers.valkey.start()
    assert database.states() == {"pending": 1}

    new_api(SHORT)

    database.wait_for_states({"succeeded": 1})
    assert worker.process.exit_code is None


def test_api_told_to_stop_answers_what_it_has_begun(
    new_api: ApiFactory, worker: Running, database: Database
) -> None:
    """The requests of many clients while one of two API processes stops: every 201 has its row."""
    stopping, staying = new_api(SHORT), new_api(SHORT)
    accepted = [stopping.post(f"Before {number}").json()["id"] for number in range(20)]

    stopping.process.send(signal.SIGTERM)
    assert stopping.process.wait(30) in {0, -signal.SIGTERM}
    accepted += [staying.post(f"After {number}").json()["id"] for number in range(20)]

    database.wait_for_states({"succeeded": 40}, 120)
    stored = {str(row["id"]) for row in database.query("SELECT id FROM issue")}
    assert stored == set(accepted)
    assert worker.process.exit_code is None


def test_worker_told_to_stop_finishes_what_it_runs_and_hands_the_rest_back(
    api: Api, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    del api
    first = new_worker(SHORT, "first", MISBEHAVING)
    for _ in range(6):
        database.add_job(TASK, seconds=3)
    wait_until(lambda: database.states().get("running") == 2, 30, "both processes to work")

    assert first.process.stop(timeout_s=30)

    assert database.states() == {"succeeded": 2, "queued": 4}
    wait_until(lambda: (broker.llen("issues"), broker.hlen("unacked")) == (4, 0), 10, "the rest in the queue")
    new_worker(SHORT, "second", MISBEHAVING)
    database.wait_for_states({"succeeded": 6})
    assert database.one("SELECT max(attempts) FROM job") == 1


def test_soft_limit_is_a_transient_failure_and_hard_limit_is_told(
    api: Api, new_worker: WorkerFactory, database: Database
) -> None:
    del api
    limits = {**SHORT, "RETRY_DELAYS": "3600", "TASK_SOFT_TIME_LIMIT": "1", "TASK_TIME_LIMIT": "3"}
    worker = new_worker(limits, app=MISBEHAVING)
    soft = database.add_job(TASK, seconds=30)
    hard = database.add_job(TASK, how="stubborn")

    database.wait_for_states({"retrying": 2})

    assert "SoftTimeLimitExceeded" in database.failures(soft)[0]["error"]
    assert "TimeLimitExceeded" in database.failures(hard)[0]["error"]
    assert worker.process.exit_code is None


@pytest.mark.parametrize("how", ["memory", "unpicklable", "sysexit"])
def test_errors_that_celery_stumbles_over_end_in_the_ledger(
    how: str, api: Api, new_worker: WorkerFactory, database: Database
) -> None:
    del api
    worker = new_worker(SHORT, app=MISBEHAVING)
    job_id = database.add_job(TASK, how=how)
    for _ in range(5):
        database.add_job(TASK)

    database.wait_for_states({"succeeded": 5, "dead": 1})

    assert [failure["attempt"] for failure in database.failures(job_id)] == [1, 2, 3, 4]
    assert worker.process.exit_code is None


def test_a_killed_child_is_replaced_and_its_attempt_told_at_once(
    api: Api, new_worker: WorkerFactory, database: Database
) -> None:
    """At once: long before the lease of a minute would have told."""
    del api
    worker = new_worker({**SHORT, "LEASE_SECONDS": "60"}, app=MISBEHAVING)
    job_id = database.add_job(TASK, seconds=2)
    database.wait_for_states({"running": 1})
    children = psutil.Process(worker.process.pid).children()
    for child in children:
        os.kill(child.pid, signal.SIGKILL)

    database.wait_for_states({"succeeded": 1})

    (failure,) = database.failures(job_id)
    assert failure["kind"] == "lost"
    assert "SIGKILL" in failure["error"]
    assert worker.process.exit_code is None


def test_workers_replaced_one_by_one_under_load(
    api: Api, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    """A rolling restart: what a worker holds it finishes, and no attempt is lost."""
    old = [new_worker(SHORT, f"old{number}", MISBEHAVING) for number in range(2)]
    for number, worker in enumerate(old):
        for _ in range(20):
            database.add_job(TASK, seconds=0.2)
        assert api.post(f"While worker {number} is replaced").status_code == 201
        new_worker(SHORT, f"new{number}", MISBEHAVING)
        assert worker.process.stop(timeout_s=30)

    database.wait_for_states({"succeeded": 42}, 120)

    assert database.one("SELECT max(attempts) FROM job") == 1
    assert broker.hlen("unacked") == 0


def test_redis_demoted_and_promoted_again(
    api: Api, worker: Running, database: Database, broker: redis.Redis
) -> None:
    """What clients of a primary see in a failover: it refuses writes until another takes its place."""
    with all_done(database, worker, 20):
        broker.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            assert api.post("During the failover").status_code == 201
            wait_until(lambda: api.log.has("dispatch_paused", "ReadOnly"), 30, "the dispatcher to notice")
        finally:
            broker.execute_command("REPLICAOF", "NO", "ONE")
        wait_until(lambda: database.one("SELECT count(ai_summary) FROM issue") == 1, 60, "its enrichment")
        database.query("DELETE FROM job WHERE task <> %s", TASK)
