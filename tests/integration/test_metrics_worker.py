"""A worker's own metrics: over all processes that it ever had, and on every pool."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery

from devstack.network import free_port, wait_until
from devstack.process import Process
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.metrics import scrape
from tests.support.processes import WORKER, tool
from tests.support.servers import Log, Servers
from tests.support.tasks import TASK

RECYCLING = "tests.support.recycling_app"
SHORT = {"RETRY_DELAYS": "0.1,0.1,0.1", "LEASE_SECONDS": "1", "DISPATCH_POLL_SECONDS": "0.1"}


@pytest.fixture
def port() -> int:
    return free_port()


def wait_for_count(port: int, attempts: int) -> None:
    def told() -> bool:
        return scrape(port).one("job_run_seconds_count", task=TASK) == attempts

    wait_until(told, 30, f"{attempts} attempts to be counted")


def test_children_that_are_replaced_or_killed_take_no_count_and_leave_no_file(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, port: int, tmp_path: Path
) -> None:
    new_api(SHORT)
    env = {**SHORT, "METRICS_PORT": str(port), "TMPDIR": str(tmp_path), "TASKS_PER_CHILD": "2"}
    worker = new_worker(env, app=RECYCLING)
    for done in (8, 16, 24):
        for _ in range(8):
            database.add_job(TASK)
        database.wait_for_states({"succeeded": done})
        # What a process has not counted yet goes with it; the last count of an attempt is that of its time.
        wait_for_count(port, done)
        for child in psutil.Process(worker.process.pid).children():
            child.kill()
    assert scrape(port).one("job_attempts_total", task=TASK) == 24
    (directory,) = tmp_path.glob("issuetracker-metrics-*")
    assert {file.name for file in directory.iterdir()} == {
        f"{kind}_{slot}.db" for kind in ("counter", "histogram") for slot in ("main", "0", "1")
    }

    assert worker.process.stop(60)
    assert not directory.exists()


def test_what_a_killed_worker_leaves_is_counted_and_removed(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, port: int, tmp_path: Path
) -> None:
    api = new_api(SHORT)
    env = {**SHORT, "METRICS_PORT": str(port), "TMPDIR": str(tmp_path)}
    worker = new_worker(env, app=RECYCLING)
    database.add_job(TASK, seconds=3600)
    database.wait_for_states({"running": 1})
    worker.process.kill_group()
    (left_behind,) = tmp_path.glob("issuetracker-metrics-*")
    os.utime(left_behind, (0, 0))

    api_port = int(api.client.base_url.port or 0)
    # Whoever writes the ledger counts: here the dispatcher, which finds the lease ended.
    wait_until(lambda: scrape(api_port).one("dispatcher_leases_expired_total") == 1, 30, "the lease to end")
    told = scrape(api_port)
    assert told.by("job_attempts_total", "task", "outcome") == {("other", "lost"): 1}
    assert told.by("job_retries_total", "task", "kind") == {("other", "lost"): 1}
    database.query("DELETE FROM job")

    new_worker(env, "next", RECYCLING)

    assert not left_behind.exists()
    assert len([*tmp_path.glob("issuetracker-metrics-*")]) == 1
    assert scrape(port).one("job_attempts_total") == 0


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_other_pools_count_too(
    pool: str, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, port: int
) -> None:
    new_api(SHORT)
    new_worker({**SHORT, "METRICS_PORT": str(port), "POOL": pool}, app=RECYCLING)
    for _ in range(5):
        database.add_job(TASK)

    database.wait_for_states({"succeeded": 5})

    wait_for_count(port, 5)


def test_it_says_of_which_queues_it_takes_messages(
    servers: Servers, new_worker: WorkerFactory, broker: redis.Redis, database: Database, port: int
) -> None:
    new_worker({"METRICS_PORT": str(port)})

    def consuming() -> dict[tuple[str, ...], int]:
        return scrape(port).by("worker_consuming", "queue")

    wait_until(lambda: consuming() == {("issues",): 1, ("default",): 1}, 60, "both queues")
    with Celery(broker=servers.env["CELERY_BROKER_URL"]) as app:
        app.control.cancel_consumer("default")
    wait_until(lambda: consuming() == {("issues",): 1}, 60, "one queue")

    servers.valkey_process.send_group(signal.SIGSTOP)
    try:
        wait_until(lambda: consuming() == {}, 60, "none, while Redis hangs")
    finally:
        servers.valkey_process.send_group(signal.SIGCONT)


def test_a_port_that_is_taken_is_one_line(servers: Servers) -> None:
    log = Log()
    env = {**servers.env, "METRICS_PORT": str(servers.redis_port)}
    worker = Process("worker", [tool("celery"), "-A", "app.celery_app", "worker"], log, cwd=WORKER, env=env)

    assert worker.wait(60) == 2, str(log)

    assert (
        f"issuetracker: cannot listen on METRICS_PORT {servers.redis_port} at 127.0.0.1: Address already in use"
        in str(log)
    )
    assert not log.has("Traceback")
