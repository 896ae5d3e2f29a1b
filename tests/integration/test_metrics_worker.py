"""Metrics of a worker: across all of its processes and for every pool."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
import redis

from tests.conftest import ApiFactory, WorkerFactory
from tests.support.control import control_app
from tests.support.database import Database
from tests.support.forked import ForkedProcess
from tests.support.metrics import scrape
from tests.support.ports import free_port
from tests.support.processes import WORKER
from tests.support.servers import Log, Servers
from tests.support.tasks import TASK
from tests.support.waiting import DEADLINE_S, wait_until

RECYCLING = "tests.support.recycling_app"
SHORT = {"RETRY_DELAYS": "0.1,0.1,0.1", "LEASE_SECONDS": "1", "DISPATCH_POLL_SECONDS": "0.1"}
LONG_LEASE = {**SHORT, "LEASE_SECONDS": "20"}
"""For tests that count attempts: on a busy machine, an attempt may take longer than a second."""


@pytest.fixture
def port() -> int:
    return free_port()


def wait_for_count(port: int, attempts: int) -> None:
    def is_counted() -> bool:
        return scrape(port).one("job_run_seconds_count", task=TASK) == attempts

    wait_until(is_counted, f"{attempts} attempts to be counted")


def test_metrics_after_child_replacement_keep_counts_and_leave_no_file(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, port: int, tmp_path: Path
) -> None:
    new_api(LONG_LEASE)
    env = {**LONG_LEASE, "METRICS_PORT": str(port), "TMPDIR": str(tmp_path), "TASKS_PER_CHILD": "2"}
    worker = new_worker(env, app=RECYCLING)
    for done in (8, 16, 24):
        for _ in range(8):
            database.add_job(TASK)
        database.wait_for_states({"succeeded": done})
        # A killed process loses counts that it has not yet written. The duration is the last count of an attempt.
        wait_for_count(port, done)
        for child in psutil.Process(worker.process.pid).children():
            child.kill()
    assert scrape(port).one("job_attempts_total", task=TASK) == 24
    (directory,) = tmp_path.glob("issuetracker-metrics-*")
    assert {file.name for file in directory.iterdir()} == {
        f"{kind}_{slot}.db" for kind in ("counter", "histogram") for slot in ("main", "0", "1")
    }

    assert worker.process.stop(DEADLINE_S)
    assert not directory.exists()


def test_metrics_of_killed_worker_are_counted_and_files_removed(
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
    # The process that writes the transition counts it: here the dispatcher, which expires the lease.
    wait_until(lambda: scrape(api_port).one("dispatcher_leases_expired_total") == 1, "the lease to expire")
    metrics = scrape(api_port)
    assert metrics.by("job_attempts_total", "task", "outcome") == {("other", "lost"): 1}
    assert metrics.by("job_retries_total", "task", "kind") == {("other", "lost"): 1}
    database.query("DELETE FROM job")

    new_worker(env, "next", RECYCLING)

    assert not left_behind.exists()
    assert len([*tmp_path.glob("issuetracker-metrics-*")]) == 1
    assert scrape(port).one("job_attempts_total") == 0


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_metrics_with_other_pools_are_counted(
    pool: str, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, port: int
) -> None:
    new_api(LONG_LEASE)
    new_worker({**LONG_LEASE, "METRICS_PORT": str(port), "POOL": pool}, app=RECYCLING)
    for _ in range(5):
        database.add_job(TASK)

    database.wait_for_states({"succeeded": 5})

    wait_for_count(port, 5)
    assert database.one("SELECT count(*) FROM effect") == 5


def test_worker_consuming_metric_lists_consumed_queues(
    servers: Servers, new_worker: WorkerFactory, broker: redis.Redis, database: Database, port: int
) -> None:
    new_worker({"METRICS_PORT": str(port)}, app="tests.support.controllable_app")

    def consumed_queues() -> dict[tuple[str, ...], int]:
        return scrape(port).by("worker_consuming", "queue")

    wait_until(lambda: consumed_queues() == {("issues",): 1, ("default",): 1}, "both queues to be consumed")
    with control_app(servers.env["CELERY_BROKER_URL"]) as app:
        # Redis does not store commands. A worker that responds has subscribed to them.
        wait_until(lambda: app.control.ping(timeout=1) != [], "a reply of the worker")
        app.control.cancel_consumer("default")
    wait_until(lambda: consumed_queues() == {("issues",): 1}, "only the issues queue to be consumed")

    servers.valkey_process.send_group(signal.SIGSTOP)
    try:
        wait_until(lambda: consumed_queues() == {}, "no consumed queue while Redis hangs")
    finally:
        servers.valkey_process.send_group(signal.SIGCONT)
    wait_until(lambda: ("issues",) in consumed_queues(), "the issues queue to be consumed again")


def test_metrics_port_in_use_prints_one_line_and_exits_with_2(servers: Servers) -> None:
    log = Log()
    env = {**servers.env, "METRICS_PORT": str(servers.redis_port)}
    command = [sys.executable, "-m", "celery", "-A", "app.celery_app", "worker"]
    worker = ForkedProcess("worker", command, log, cwd=WORKER, env=env)

    assert worker.wait(DEADLINE_S) == 2, str(log)

    assert (
        f"issuetracker: cannot listen on METRICS_PORT {servers.redis_port} at 127.0.0.1: Address already in use"
        in str(log)
    )
    assert not log.has("Traceback")
