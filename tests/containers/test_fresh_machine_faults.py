"""`make run` in a fresh container of debian:trixie-slim, from an archive, without git.

The first test installs everything. The tests run in order.
"""

from collections.abc import Iterator

import pytest

from tests.support.docker import needs_images
from tests.support.fresh import NOHUP, TERMINAL, Machine, MakeRun, share_site, start_machine

BASE = "debian:trixie-slim"
pytestmark = [needs_images(BASE), pytest.mark.xdist_group("fresh-debian")]
PORTS = {
    5432: ("PostgreSQL", "DATABASE_URL"),
    6379: ("Valkey", "CELERY_BROKER_URL"),
    8000: ("the API", "API_PORT"),
    5555: ("Flower", "FLOWER_PORT"),
    9808: ("the exporter", "EXPORTER_PORT"),
    9809: ("the worker's metrics", "WORKER_METRICS_PORT"),
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with share_site(BASE, tmp_path_factory.mktemp("source")) as site, start_machine(site) as machine:
        yield machine


@pytest.fixture(scope="module")
def directory(machine: Machine) -> str:
    """Return the directory of an extracted archive whose path is longer than that of a Unix socket can be."""
    directory = machine.make_home(f"root/{'long-' * 20}/IssueTracker")
    machine.run(f"tar xf /source/archive.tar -C {directory}")
    return directory


def test_archive_in_long_path_until_ctrl_c(machine: Machine, directory: str) -> None:
    assert machine.run("command -v git", check=False) == ""
    run = MakeRun(machine, directory)
    print(run.wait_ready())
    run.enrich()

    run.signal("INT", group=True)

    run.wait_stopped()


def test_nohup_runs_after_sighup_until_sigterm_to_make(machine: Machine, directory: str) -> None:
    run = MakeRun(machine, directory, line=NOHUP)
    run.wait_ready()

    run.signal("HUP", group=True)
    run.enrich()
    run.signal("TERM", group=False)

    run.wait_stopped()


def test_nohup_until_sigint_to_group(machine: Machine, directory: str) -> None:
    run = MakeRun(machine, directory, line=NOHUP)
    run.wait_ready()

    run.signal("INT", group=True)

    run.wait_stopped()


def test_closed_terminal_stops_everything(machine: Machine, directory: str) -> None:
    run = MakeRun(machine, directory, line=TERMINAL)
    run.wait_ready()

    run.signal("KILL", group=False)

    run.wait_stopped()


@pytest.mark.parametrize("port", PORTS)
def test_busy_port_is_reported_with_process_and_setting(port: int, machine: Machine, directory: str) -> None:
    program = f"import socket, time; opened = socket.create_server(('', {port})); print(1); time.sleep(99)"
    machine.run(
        f'python3 -uc "{program}" >/tmp/out & echo $! >/tmp/pid; until [ -s /tmp/out ]; do sleep 0.1; done'
    )
    try:
        line = MakeRun(machine, directory).wait_failed()
    finally:
        machine.run("kill $(cat /tmp/pid); rm /tmp/out /tmp/pid")

    owner, setting = PORTS[port]
    assert line == (
        f"issuetracker: port {port} of {owner} is taken by another program. "
        f"Stop that program, or set another port in {setting} (.env)."
    )
