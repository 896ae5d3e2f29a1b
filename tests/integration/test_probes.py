"""The worker's probes, run with the program of its image, and its states for systemd, in outages and hangs."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.network import ALIVE_FILE, CONSUMING_FILE
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.control import control_app
from tests.support.database import Database
from tests.support.forked import ForkedProcess
from tests.support.notifications import Notifications, listen
from tests.support.processes import ROOT, WORKER, RunningProcess
from tests.support.servers import Log, Servers
from tests.support.tasks import TASK
from tests.support.waiting import wait_until

MISBEHAVING = "tests.support.misbehaving_app"
BOUND_S = 6
"""Above the interval of the worker, far below the bounds of the contracts, so that the tests are short."""


class Probes:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def passes(self, name: str) -> bool:
        command = [sys.executable, "-I", "-S", str(ROOT / "deploy/probe.py"), "fresh"]
        return subprocess.run([*command, str(self.directory / name), str(BOUND_S)], check=False).returncode == 0

    @contextmanager
    def expect_touches(self, name: str, times: int) -> Iterator[None]:
        """Run the body, then wait until the file has been touched `times` times."""
        seen = {self._touch(name)}
        yield

        def is_touched_enough() -> bool:
            seen.add(self._touch(name))
            return len(seen) > times

        wait_until(is_touched_enough, f"{times} touches of {name}")

    def _touch(self, name: str) -> int:
        return (self.directory / name).stat().st_mtime_ns


@pytest.fixture
def probes(tmp_path: Path) -> Probes:
    return Probes(tmp_path)


@pytest.fixture
def systemd() -> Iterator[Notifications]:
    with listen() as notifications:
        yield notifications


@pytest.fixture
def worker(new_worker: WorkerFactory, probes: Probes, systemd: Notifications) -> RunningProcess:
    settings = {"HEARTBEAT_DIRECTORY": str(probes.directory), "NOTIFY_SOCKET": systemd.address}
    worker = new_worker(settings, app=MISBEHAVING)
    wait_until(lambda: probes.passes(ALIVE_FILE) and probes.passes(CONSUMING_FILE), "both probes to pass")
    return worker


def stop_redis(servers: Servers) -> Callable[[], object]:
    servers.valkey.stop()
    return servers.valkey.start


def freeze_redis(servers: Servers) -> Callable[[], object]:
    servers.valkey_process.send_group(signal.SIGSTOP)
    return lambda: servers.valkey_process.send_group(signal.SIGCONT)


@pytest.mark.parametrize("stop", [stop_redis, freeze_redis])
def test_worker_without_broker_is_alive_and_not_ready(
    stop: Callable[[Servers], Callable[[], object]],
    worker: RunningProcess,
    probes: Probes,
    servers: Servers,
    systemd: Notifications,
) -> None:
    systemd.wait_for("READY=1")
    start = stop(servers)
    try:
        wait_until(lambda: not probes.passes(CONSUMING_FILE), "the readiness probe to fail")
        systemd.received()
        with probes.expect_touches(ALIVE_FILE, times=2):
            assert not probes.passes(CONSUMING_FILE)
        assert set(systemd.received()) == {"WATCHDOG=1"}
    finally:
        start()

    wait_until(lambda: probes.passes(CONSUMING_FILE), "the readiness probe to pass")
    assert worker.process.exit_code is None


def test_worker_started_without_broker_is_alive(servers: Servers, probes: Probes, systemd: Notifications) -> None:
    environment = {**servers.env, "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}
    worker = ForkedProcess(
        "worker",
        [sys.executable, "-m", "celery", "-A", "app.celery_app", "worker"],
        Log(),
        cwd=WORKER,
        env={
            **environment,
            "HEARTBEAT_DIRECTORY": str(probes.directory),
            "NOTIFY_SOCKET": systemd.address,
        },
    )
    try:
        wait_until(lambda: probes.passes(ALIVE_FILE), "the liveness probe to pass")
        with probes.expect_touches(ALIVE_FILE, times=1):
            assert not (probes.directory / CONSUMING_FILE).exists()
        assert set(systemd.received()) == {"WATCHDOG=1"}
    finally:
        worker.kill_group()


def test_worker_when_busy_is_ready(
    worker: RunningProcess, probes: Probes, new_api: ApiFactory, database: Database
) -> None:
    new_api({})
    for _ in range(3):
        database.add_job(TASK, seconds=3600)
    wait_until(lambda: database.states().get("running") == 2, "both processes to work")

    with probes.expect_touches(CONSUMING_FILE, times=3):
        pass

    wait_until(lambda: probes.passes(CONSUMING_FILE), "the readiness probe to pass")
    assert database.states() == {"running": 2, "queued": 1}
    worker.process.kill_group()


def test_worker_when_hanging_is_not_alive(worker: RunningProcess, probes: Probes, systemd: Notifications) -> None:
    worker.process.send(signal.SIGSTOP)
    try:
        wait_until(lambda: not probes.passes(ALIVE_FILE), "the liveness probe to fail")
        systemd.received()
    finally:
        worker.process.send(signal.SIGCONT)
    wait_until(lambda: probes.passes(ALIVE_FILE), "the liveness probe to pass again")
    systemd.wait_for("WATCHDOG=1")

    worker.process.send(signal.SIGTERM)
    systemd.wait_for("STOPPING=1")


def test_worker_without_consumers_is_not_ready(worker: RunningProcess, probes: Probes, servers: Servers) -> None:
    """The test cancels the consumers with a control command."""
    with control_app(servers.env["CELERY_BROKER_URL"]) as app:
        # Redis does not store commands. A worker that responds has subscribed to them.
        wait_until(lambda: app.control.ping(timeout=1) != [], "a reply of the worker")
        for queue in ("issues", "default"):
            app.control.cancel_consumer(queue)

    wait_until(lambda: not probes.passes(CONSUMING_FILE), "the readiness probe to fail")
    with probes.expect_touches(ALIVE_FILE, times=1):
        assert worker.process.exit_code is None
