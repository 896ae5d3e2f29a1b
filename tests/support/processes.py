"""Processes of the product, started as an operator starts them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from devstack.process import Process
from tests.support.forked import ForkedProcess
from tests.support.ports import free_port
from tests.support.redis_users import connect_as
from tests.support.servers import Log
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
API = ROOT / "services/api"
WORKER = ROOT / "services/worker"


def tool(name: str) -> str:
    """Return the path of a console script of this environment."""
    return str(Path(sys.executable).with_name(name))


@dataclass
class RunningProcess:
    """A started process and its output."""

    process: Process
    log: Log


@dataclass
class Api(RunningProcess):
    """An API process and a client of it."""

    client: httpx.Client

    def post(self, title: str = "The page is empty", **fields: str) -> httpx.Response:
        return self.client.post("/api/v1/issues", json={"title": title, **fields})


def _process_class(directory: Path, env: Mapping[str, str]) -> type[Process]:
    """Return ForkedProcess, except for other releases of the product and for variables of the interpreter."""
    is_interpreter_set = any(name.startswith("PYTHON") for name in env)
    return Process if directory not in {API, WORKER} or is_interpreter_set else ForkedProcess


def _with_user(user: str, directory: Path, env: Mapping[str, str]) -> Mapping[str, str]:
    """Let a service of this tree connect to Redis as its own user. Those of the release have one password."""
    return connect_as(user, env) if directory in {API, WORKER} else env


def start_api(
    env: Mapping[str, str], app: Sequence[str] = ("main:app",), directory: Path = API, port: int | None = None
) -> Api:
    """Start an API process. `app` is the application argument of uvicorn, relative to `directory`."""
    port, log = port or free_port(), Log()
    command = [sys.executable, "-m", "uvicorn", *app, "--port", str(port)]
    env = _with_user("api", directory, env)
    process = _process_class(directory, env)("api", command, log, cwd=directory, env=env)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def is_live() -> bool:
        assert process.exit_code is None, f"the API ended:\n{log}"
        try:
            return client.get("/livez").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(is_live, "the API to be live")
    return Api(process, log, client)


def start_worker(
    env: Mapping[str, str], name: str = "worker", app: str = "app.celery_app", directory: Path = WORKER
) -> RunningProcess:
    """Start a worker. `app` is the application argument of Celery, relative to `directory`."""
    log = Log()
    command = [
        *(sys.executable, "-m", "celery", "-A", app, "worker", "--loglevel=info", "-n", f"{name}@%h"),
        *("--without-mingle", "--without-gossip"),
    ]
    process_class = _process_class(directory, env)
    env = {"PYTHONPATH": str(ROOT), "LOG_FORMAT": "json", **_with_user("worker", directory, env)}
    process = process_class(name, command, log, cwd=directory, env=env)

    def is_ready() -> bool:
        assert process.exit_code is None, f"the worker ended:\n{log}"
        return log.has("celery@", " ready.") or log.has(f"{name}@", " ready.")

    wait_until(is_ready, "the worker to be ready")
    return RunningProcess(process, log)
