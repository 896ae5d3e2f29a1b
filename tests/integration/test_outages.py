"""Outages of Redis and PostgreSQL under a busy worker. The worker survives and completes all jobs."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import redis

from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.processes import Api, RunningProcess
from tests.support.servers import Servers
from tests.support.tasks import TASK
from tests.support.waiting import DEADLINE_S, wait_until

MISBEHAVING = "tests.support.misbehaving_app"
SHORT = {"RETRY_DELAYS": "0.5,0.5,0.5", "LEASE_SECONDS": "3", "DISPATCH_POLL_SECONDS": "0.1"}


@pytest.fixture
def api(new_api: ApiFactory) -> Api:
    return new_api(SHORT)


@pytest.fixture
def worker(new_worker: WorkerFactory) -> RunningProcess:
    return new_worker(SHORT, app=MISBEHAVING)


@contextmanager
def expect_all_jobs_done(database: Database, worker: RunningProcess, jobs: int) -> Iterator[None]:
    """Add jobs, run the body while workers run them, and expect each job to be done once."""
    for number in range(jobs):
        database.add_job(TASK, seconds=2 if number % 5 == 0 else 0.05)
    wait_until(lambda: database.states().get("running", 0) > 0, "the first job to run")
    yield
    database.wait_for_states({"succeeded": jobs})
    assert database.one("SELECT count(*) FROM effect") == jobs
    assert database.one("SELECT count(DISTINCT job_id) FROM effect") == jobs
    assert worker.process.exit_code is None, str(worker.log)


def test_redis_restart_with_data_loses_no_job(
    api: Api, worker: RunningProcess, database: Database, servers: Servers
) -> None:
    """Celery 5.7.0's worker exits here: it holds a message and has a free slot."""
    with expect_all_jobs_done(database, worker, 20):
        servers.valkey.stop()
        servers.valkey.start()
        assert api.post("After the restart").status_code == 201
        database.query("DELETE FROM job WHERE task <> %s", TASK)


def test_redis_kill_with_busy_and_free_slot_loses_no_job(
    api: Api, worker: RunningProcess, database: Database, servers: Servers
) -> None:
    del api
    for _ in range(3):
        with expect_all_jobs_done(database, worker, 1):
            servers.valkey_process.kill_group()
            servers.valkey.start()
        database.query("DELETE FROM job; DELETE FROM effect")


def test_redis_restart_without_data_loses_no_job(
    api: Api, worker: RunningProcess, database: Database, servers: Servers, broker: redis.Redis
) -> None:
    del api
    with expect_all_jobs_done(database, worker, 20):
        broker.config_set("appendonly", "no")
        servers.valkey.stop()
        servers.valkey.delete_data()
        servers.valkey.start()


def test_redis_wipe_loses_no_job(
    api: Api, worker: RunningProcess, database: Database, broker: redis.Redis
) -> None:
    del api
    with expect_all_jobs_done(database, worker, 20):
        broker.flushall()


def test_redis_outage_during_success_failure_and_retry_loses_no_job(
    api: Api, worker: RunningProcess, database: Database, servers: Servers
) -> None:
    # Long enough that both run at once, although one may start later on a busy machine.
    done = database.add_job(TASK, seconds=5)
    retried = database.add_job(TASK, seconds=4, how="transient", until=2)
    wait_until(lambda: database.states().get("running", 0) == 2, "both jobs to run")
    servers.valkey.stop()
    try:
        dead = database.add_job(TASK, how="permanent")
        assert api.post("During the Redis outage").status_code == 201
        wait_until(lambda: database.job(done)["state"] == "succeeded", "the running job to succeed")
        # On a busy machine, Redis may have stopped after the retry.
        wait_until(lambda: database.job(retried)["state"] != "running", "the end of the other attempt")
    finally:
        servers.valkey.start()

    database.wait_for_states({"succeeded": 3, "dead": 1})
    assert database.job(dead)["attempts"] == 1
    assert worker.process.exit_code is None


def test_redis_freeze_loses_no_job(api: Api, worker: RunningProcess, database: Database, servers: Servers) -> None:
    with expect_all_jobs_done(database, worker, 10):
        servers.valkey_process.send_group(signal.SIGSTOP)
        try:
            for number in range(5):
                assert api.post(f"During the freeze {number}").status_code == 201
        finally:
            servers.valkey_process.send_group(signal.SIGCONT)
        wait_until(
            lambda: database.one("SELECT count(ai_summary) FROM issue") == 5, "the enrichment of the issues"
        )
        database.query("DELETE FROM job WHERE task <> %s", TASK)


def test_redis_connections_killed_lose_no_job(
    api: Api, worker: RunningProcess, database: Database, broker: redis.Redis
) -> None:
    del api
    with expect_all_jobs_done(database, worker, 20):
        for _ in range(3):
            broker.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_redis_without_memory_loses_no_job(
    api: Api, worker: RunningProcess, database: Database, broker: redis.Redis
) -> None:
    with expect_all_jobs_done(database, worker, 10):
        broker.config_set("maxmemory", "1")
        try:
            assert api.post("Without memory").status_code == 201
            wait_until(
                lambda: worker.log.has("OOM") or worker.log.has("OutOfMemory"), "the worker to log the error"
            )
        finally:
            broker.config_set("maxmemory", "0")
        wait_until(lambda: database.one("SELECT count(ai_summary) FROM issue") == 1, "its enrichment")
        database.query("DELETE FROM job WHERE task <> %s", TASK)


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_postgresql_restart_loses_no_job(
    stop_signal: signal.Signals, api: Api, worker: RunningProcess, database: Database, servers: Servers
) -> None:
    """A fast stop, an immediate stop and a kill of the whole server under load."""
    with expect_all_jobs_done(database, worker, 20):
        if stop_signal is signal.SIGKILL:
            servers.kill_postgres()
        else:
            servers.postgres_process.send(stop_signal)
            servers.postgres_process.wait(DEADLINE_S)
        assert api.post("During the outage").status_code == 503
        servers.postgres.start()
    wait_until(lambda: api.post("After it").status_code == 201, "the API")


def test_postgresql_without_connections_returns_503_and_loses_no_job(
    api: Api, worker: RunningProcess, database: Database, servers: Servers
) -> None:
    database.add_job(TASK, seconds=3)
    database.wait_for_states({"running": 1})
    database.close()
    with servers.superuser() as cursor:
        cursor.execute("ALTER ROLE issuetracker CONNECTION LIMIT 0")
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'issuetracker'")
        try:
            response = api.post("No connection left")
            assert response.status_code == 503
            assert "retry-after" in response.headers
            ready = api.client.get("/readyz")
            assert ready.status_code == 503
        finally:
            cursor.execute("ALTER ROLE issuetracker CONNECTION LIMIT -1")

    wait_until(lambda: api.post("After it").status_code == 201, "the API")
    database.wait_for_states({"succeeded": 2})
    assert database.one("SELECT count(*) FROM issue WHERE title = 'No connection left'") == 0
    assert worker.process.exit_code is None


def test_api_kill_between_commit_and_publish_loses_no_job(
    new_api: ApiFactory, worker: RunningProcess, database: Database, servers: Servers
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


def test_api_shutdown_completes_started_requests(
    new_api: ApiFactory, worker: RunningProcess, database: Database
) -> None:
    """Post before and after one of two API processes stops. Every 201 has a row."""
    stopping_api, other_api = new_api(SHORT), new_api(SHORT)
    accepted = [stopping_api.post(f"Before {number}").json()["id"] for number in range(20)]

    stopping_api.process.send(signal.SIGTERM)
    assert stopping_api.process.wait(DEADLINE_S) in {0, -signal.SIGTERM}
    accepted += [other_api.post(f"After {number}").json()["id"] for number in range(20)]

    database.wait_for_states({"succeeded": 40})
    stored = {str(row["id"]) for row in database.query("SELECT id FROM issue")}
    assert stored == set(accepted)
    assert worker.process.exit_code is None


def test_worker_shutdown_finishes_running_jobs_and_requeues_rest(
    api: Api, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    del api
    first = new_worker(SHORT, "first", MISBEHAVING)
    for _ in range(6):
        database.add_job(TASK, seconds=3)
    wait_until(lambda: database.states().get("running") == 2, "both processes to work")

    assert first.process.stop(DEADLINE_S)

    database.wait_for_states({"succeeded": 2, "queued": 4})
    wait_until(
        lambda: (broker.llen("issues"), broker.hlen("unacked")) == (4, 0),
        "the remaining messages to be in the queue",
    )
    new_worker(SHORT, "second", MISBEHAVING)
    database.wait_for_states({"succeeded": 6})
    assert database.one("SELECT max(attempts) FROM job") == 1


def test_time_limits_are_recorded_as_failures(api: Api, new_worker: WorkerFactory, database: Database) -> None:
    del api
    limits = {**SHORT, "RETRY_DELAYS": "3600", "TASK_SOFT_TIME_LIMIT": "3", "TASK_TIME_LIMIT": "6"}
    worker = new_worker(limits, app=MISBEHAVING)
    soft = database.add_job(TASK, seconds=30)
    hard = database.add_job(TASK, how="stubborn")

    database.wait_for_states({"retrying": 2})

    assert "SoftTimeLimitExceeded" in database.failures(soft)[0]["error"]
    assert "TimeLimitExceeded" in database.failures(hard)[0]["error"]
    assert worker.process.exit_code is None


@pytest.mark.parametrize("how", ["memory", "unpicklable", "sysexit"])
def test_errors_that_celery_cannot_report_are_recorded_in_ledger(
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


def test_killed_child_is_replaced_and_attempt_recorded_immediately(
    api: Api, new_worker: WorkerFactory, database: Database
) -> None:
    """The ledger records the lost attempt long before the lease of one minute expires."""
    del api
    worker = new_worker({**SHORT, "LEASE_SECONDS": "60"}, app=MISBEHAVING)
    job_id = database.add_job(TASK, seconds=20)
    database.wait_for_states({"running": 1})
    # The next attempt ends immediately.
    database.query("UPDATE job SET message = message - 'seconds'")
    children = psutil.Process(worker.process.pid).children()
    for child in children:
        os.kill(child.pid, signal.SIGKILL)

    database.wait_for_states({"succeeded": 1})

    (failure,) = database.failures(job_id)
    assert failure["kind"] == "lost"
    assert "SIGKILL" in failure["error"]
    assert worker.process.exit_code is None


def test_rolling_restart_of_workers_loses_no_attempt(
    api: Api, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    """A rolling restart: each worker finishes its jobs, and no attempt is lost."""
    old = [new_worker(SHORT, f"old{number}", MISBEHAVING) for number in range(2)]
    for number, worker in enumerate(old):
        for _ in range(20):
            database.add_job(TASK, seconds=0.2)
        assert api.post(f"While worker {number} is replaced").status_code == 201
        new_worker(SHORT, f"new{number}", MISBEHAVING)
        assert worker.process.stop(DEADLINE_S)

    database.wait_for_states({"succeeded": 42})

    assert database.one("SELECT max(attempts) FROM job") == 1
    # A worker acknowledges a message after it has recorded the result.
    wait_until(lambda: broker.hlen("unacked") == 0, "all messages to be acknowledged")


def test_worker_that_stops_while_a_result_arrives_acknowledges_it(
    api: Api, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    """Celery 5.6 does not read the second part of a long result, and does not exit for 25 s."""
    worker = new_worker(SHORT, app="tests.support.slow_results_app")
    database.add_job(TASK, how="permanent")
    wait_until(lambda: worker.log.has("job_died"), "the job to fail")

    assert worker.process.stop(DEADLINE_S)

    assert (broker.hlen("unacked"), broker.llen("issues")) == (0, 0)
    assert database.states() == {"dead": 1}
    assert not worker.log.has("could not ensure all messages were consumed")


def test_redis_failover_loses_no_job(
    api: Api, worker: RunningProcess, database: Database, broker: redis.Redis
) -> None:
    """In a failover, the old primary rejects writes until another server replaces it."""
    # Few jobs, so that the queue has room and the dispatcher writes.
    with expect_all_jobs_done(database, worker, 5):
        broker.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            assert api.post("During the failover").status_code == 201
            wait_until(lambda: api.log.has("dispatch_paused", "ReadOnly"), "the dispatcher to log ReadOnly")
        finally:
            broker.execute_command("REPLICAOF", "NO", "ONE")
        wait_until(lambda: database.one("SELECT count(ai_summary) FROM issue") == 1, "its enrichment")
        database.query("DELETE FROM job WHERE task <> %s", TASK)
