"""The API and the exporter report their start, the heartbeats of their event loop and their stop to systemd."""

import signal
import sys
from collections.abc import Callable, Mapping

import pytest

from devstack.process import Process
from tests.support.forked import ForkedProcess
from tests.support.notifications import listen
from tests.support.ports import free_port
from tests.support.processes import API
from tests.support.servers import Log, Servers


def start_api(env: Mapping[str, str], log: Log) -> Process:
    command = [sys.executable, "-m", "uvicorn", "main:app", f"--port={free_port()}"]
    return ForkedProcess("api", command, log, cwd=API, env=env)


def start_exporter(env: Mapping[str, str], log: Log) -> Process:
    command = [sys.executable, "-m", "api.exporter"]
    return ForkedProcess("exporter", command, log, cwd=API, env={**env, "METRICS_PORT": str(free_port())})


@pytest.mark.parametrize("start", [start_api, start_exporter])
def test_service_reports_start_heartbeat_and_stop(
    start: Callable[[Mapping[str, str], Log], Process], servers: Servers
) -> None:
    log = Log()
    with listen() as systemd:
        service = start({**servers.env, "NOTIFY_SOCKET": systemd.address}, log)
        try:
            assert systemd.wait_for("READY=1")[0] == "READY=1"
            systemd.wait_for("WATCHDOG=1")
            systemd.wait_for("WATCHDOG=1")

            service.send(signal.SIGTERM)
            systemd.wait_for("STOPPING=1")
        finally:
            service.stop(30)
    assert not log.has("Traceback"), str(log)
