"""`make run`: its services, output, data and error messages."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
import psycopg2
import pytest

from devstack.address import DatabaseAddress
from devstack.network import is_taken
from devstack.postgres import Postgres, find_program
from devstack.process import Process
from tests.support.ports import free_port
from tests.support.processes import ROOT
from tests.support.servers import Log
from tests.support.waiting import DEADLINE_S, wait_until


class Run:
    """A process of `python -m devstack`, started as `make run` does."""

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        self.env = env
        self.log = Log()
        self.process = Process(
            "run", [sys.executable, "-m", "devstack", *(arguments or ("run",))], self.log, cwd=ROOT, env=env
        )

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process.exit_code is None, str(self.log)
            return self.log.has("IssueTracker is ready")

        wait_until(is_ready, lambda: f"readiness\n{self.log}")

    def wait_end(self) -> int:
        """Return the exit code after the process has ended."""
        wait_until(lambda: self.process.exit_code is not None, lambda: f"the end of the process\n{self.log}")
        return self.process.wait()

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.env['API_PORT']}", timeout=60)

    def get(self, port: str, path: str) -> str:
        """Return the text of a page of a service, or an empty string before the service listens."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.env[port]}{path}", timeout=60).text
        except httpx.TransportError:
            return ""

    def query(self, sql: str) -> Any:
        """Return the first column of the first row."""
        with closing(psycopg2.connect(self.env["DATABASE_URL"])) as connection, connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            (value,) = cursor.fetchone() or (None,)
            return value

    def service(self, command: str) -> psutil.Process:
        """Return the first process of this run whose command line contains `command`."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if command in " ".join(_command_line(child)))


def _command_line(process: psutil.Process) -> list[str]:
    """Return the command line of a process, or an empty list if it has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    redis_port = free_port()
    return {
        "LOCAL_DIR": str(tmp_path / "local"),
        "DATABASE_URL": f"postgresql://issuetracker@127.0.0.1:{free_port()}/IssueTracker",
        "CELERY_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "API_PORT": str(free_port()),
        "FLOWER_PORT": str(free_port()),
        "EXPORTER_PORT": str(free_port()),
        "WORKER_METRICS_PORT": str(free_port()),
    }


@pytest.fixture
def start(env: dict[str, str]) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start_run(*arguments: str) -> Run:
        runs.append(Run(env, *arguments))
        return runs[-1]

    yield start_run
    for run in runs:
        run.process.stop(DEADLINE_S)


def is_enriched(run: Run, issue_id: str) -> bool:
    with run.client as client:
        issue = client.get(f"/api/v1/issues/{issue_id}").json()
    return str(issue["ai_summary"]).startswith("AI Summary: ")


def test_make_run_enriches_issue_and_keeps_it_after_restart(start: Callable[..., Run]) -> None:
    run = start()
    run.wait_ready()
    wait_until(lambda: run.log.has("curl -X POST"), "the lines after it")
    with run.client as client:
        issue = client.post("/api/v1/issues", json={"title": "Login button not working"}).json()
    wait_until(lambda: is_enriched(run, issue["id"]), "the issue to be enriched")
    # Only the API and a worker are ready for certain.
    wait_until(lambda: run.get("FLOWER_PORT", "/healthcheck") == "OK", "Flower")
    ports = ("EXPORTER_PORT", "WORKER_METRICS_PORT")
    wait_until(lambda: all("issuetracker_" in run.get(port, "/metrics") for port in ports), "both metrics pages")
    names = ("postgres", "api", "worker", "flower", "exporter")
    wait_until(lambda: all(run.log.has(f"| {name:<8} |") for name in names), lambda: f"lines of all\n{run.log}")

    run.process.send(signal.SIGINT)
    assert run.wait_end() == 0, str(run.log)
    assert not is_taken(int(run.env["API_PORT"]))

    second = start()
    second.wait_ready()
    assert is_enriched(second, issue["id"])

    second.service("uvicorn main:app").kill()
    assert second.wait_end() == 1
    assert second.log.has("api ended with exit code -9")
    assert not is_taken(int(run.env["API_PORT"]))


def test_make_run_with_port_in_use_prints_port_and_exits_with_2(
    start: Callable[..., Run], env: dict[str, str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(env["API_PORT"])))
        other.listen()

        run = start()

        assert run.wait_end() == 2
    (line,) = run.log.lines
    assert f"port {env['API_PORT']} of the API is taken by another program" in line
    assert "API_PORT" in line


def test_servers_are_protected_restarted_and_reset(start: Callable[..., Run], env: dict[str, str]) -> None:
    first = start("servers")
    first.wait_ready()
    inserted = first.query(
        "INSERT INTO circuit (task, provider, failures, last_error, open_until) "
        "VALUES ('a task', 'a provider', 1, 'refused', now()) RETURNING provider"
    )
    for arguments in (("run",), ("reset",)):
        other = start(*arguments)
        assert other.wait_end() == 2, f"{arguments}\n{other.log}\n{first.process.exit_code}\n{first.log}"
        (line,) = other.log.lines
        assert f"already running as process {first.process.pid}" in line

    first.process.send(signal.SIGKILL)
    first.wait_end()
    ports = [
        int(first.env[name].rsplit(":", 1)[1].split("/")[0]) for name in ("DATABASE_URL", "CELERY_BROKER_URL")
    ]
    wait_until(lambda: not any(map(is_taken, ports)), "PostgreSQL and Valkey to stop")
    assert (Path(env["LOCAL_DIR"]) / "lock").exists(), "the next start must accept a stale lock file"

    second = start("servers")
    second.wait_ready()
    assert second.query("SELECT provider FROM circuit") == inserted
    second.service("valkey-server").kill()
    assert second.wait_end() == 1
    assert second.log.has("valkey ended with exit code -9"), str(second.log)

    assert start("reset").wait_end() == 0
    assert not Path(env["LOCAL_DIR"]).exists()


def test_make_run_with_invalid_setting_prints_one_line_and_exits_with_2(
    start: Callable[..., Run], env: dict[str, str]
) -> None:
    env["DATABASE_URL"] = "postgresql://issuetracker@db.example.org:5432/IssueTracker"

    run = start()

    assert run.wait_end() == 2
    (line,) = run.log.lines
    assert "DATABASE_URL: the host db.example.org is not this machine" in line


@pytest.mark.parametrize("roles", [("postgres:password", "issuetracker"), ("issuetracker", "postgres:password")])
def test_tables_of_one_role_are_usable_by_next_role(roles: tuple[str, str], tmp_path: Path) -> None:
    """The guide's DATABASE_URL names the role `postgres`, the default one `issuetracker`."""
    port = free_port()
    for role in roles:
        url = f"postgresql://{role}@localhost:{port}/IssueTracker"
        server = Postgres(tmp_path, DatabaseAddress.parse(url), Log())
        server.start()
        try:
            with closing(psycopg2.connect(url)) as connection, connection:
                cursor = connection.cursor()
                cursor.execute("CREATE TABLE IF NOT EXISTS issue (id int)")
                cursor.execute("ALTER TABLE issue ADD COLUMN IF NOT EXISTS title text")
                cursor.execute("SELECT usesuper FROM pg_user WHERE usename = session_user")
                assert cursor.fetchone() == (False,)
        finally:
            server.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a directory with the wheel inside a private directory, such as the home of root."""
    home = tmp_path / "home"
    package = Path(find_program("postgres")).parents[2]
    for directory in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(directory, home / directory.name, symlinks=True)
    tmp_path.chmod(0o700)
    return home


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL changes its user only if it is started as root")
def test_servers_of_root_with_wheel_in_private_home_start(
    start: Callable[..., Run], env: dict[str, str], home: Path
) -> None:
    with TemporaryDirectory() as public:
        Path(public).chmod(0o755)
        env |= {"PYTHONPATH": str(home), "TMPDIR": public}

        run = start("servers")
        run.wait_ready()
        run.process.send(signal.SIGTERM)

        assert run.wait_end() == 0, str(run.log)
        assert list(Path(public).iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL changes its user only if it is started as root")
def test_servers_of_root_with_private_temporary_directory_print_fix(
    start: Callable[..., Run], env: dict[str, str], home: Path
) -> None:
    env |= {"PYTHONPATH": str(home), "TMPDIR": str(home)}

    run = start("servers")

    assert run.wait_end() == 2
    (line,) = run.log.lines
    assert f"cannot run programs in {home}. Set TMPDIR to a directory that every user can enter" in line
