"""Starts the servers, the migrations and the services on one machine, and stops them in reverse order."""

import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from contracts.network import READINESS_PATH
from devstack.network import is_taken
from devstack.postgres import Postgres
from devstack.process import Process, ProcessFailed
from devstack.settings import LOCAL, ROOT, DevSettings
from devstack.valkey import Valkey

READY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
"""Above the time limit of a task, so that a worker can finish its running tasks."""

SERVICES_READY = """\
  API       {api}/docs
  Flower    http://127.0.0.1:{settings.flower_port}
  Metrics   {api}/metrics, and /metrics on ports {settings.worker_metrics_port} (worker) and \
{settings.exporter_port} (ledger and broker)
  Database  make psql SQL="SELECT id, title, ai_summary, tags FROM issue WHERE ai_summary IS NOT NULL"
  Try it    curl -X POST {api}/api/v1/issues -H 'Content-Type: application/json' \\
              -d '{{"title": "Login button not working", "description": "No response", "priority": "high"}}'
"""
SERVERS_READY = """\
  DATABASE_URL       {settings.database_url}
  CELERY_BROKER_URL  {settings.celery_broker_url}
"""

_COLOURS = {"postgres": 34, "valkey": 35, "migrate": 33, "api": 32, "worker": 36, "flower": 31, "exporter": 37}


def print_prefixed(name: str, line: str) -> None:
    """Print one line of a process's output, prefixed with the process's name."""
    label = f"{name:<8} |"
    if sys.stdout.isatty():
        label = f"\033[{_COLOURS.get(name, 37)}m{label}\033[0m"
    print(f"{label} {line}", flush=True)


@contextmanager
def exclusive_lock(local: Path) -> Iterator[None]:
    """Lock the local data. The system releases the lock when the process ends, even if it is killed."""
    try:
        local.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = (local / "lock").open("a+")
    except PermissionError as error:
        raise ProcessFailed(
            f"cannot write to {local}: {error.strerror}. Check which user owns the directory."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise ProcessFailed(
                f"already running as process {lock.read().strip()}. Stop that process first."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


class Stack:
    """The processes of `make run`. With `with_services=False`, the user starts the services."""

    def __init__(self, settings: DevSettings, *, with_services: bool) -> None:
        self._settings = settings
        self._with_services = with_services
        self._watched: list[Process] = []
        self._services: list[Process] = []
        self._worker_ready = threading.Event()
        self._interrupts = 0
        self._interrupted = threading.Event()

    def run(self) -> int:
        """Run until Ctrl-C (exit code 0) or until a process ends unexpectedly (1)."""
        started = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)
        with exclusive_lock(LOCAL), ExitStack() as stack:
            self._check_ports()
            servers = (
                Postgres(LOCAL / "postgres", self._settings.postgres, print_prefixed),
                Valkey(LOCAL / "valkey", self._settings.valkey_port, print_prefixed),
            )
            for server in servers:
                stack.callback(server.stop)
                self._watched.append(server.start())
            self._migrate()
            if self._with_services:
                stack.callback(self._stop_services)
                self._start_services()
            if not self._with_services or self._wait_until_ready():
                self._announce(time.monotonic() - started)
            return self._wait_until_end()

    def _interrupt(self, _number: int, _frame: object) -> None:
        self._interrupts += 1
        self._interrupted.set()
        if self._interrupts > 1:
            for service in self._services:
                service.kill_group()

    def _check_ports(self) -> None:
        ports = [
            ("DATABASE_URL", self._settings.postgres.port),
            ("CELERY_BROKER_URL", self._settings.valkey_port),
        ]
        if self._with_services:
            ports += [
                ("API_PORT", self._settings.api_port),
                ("FLOWER_PORT", self._settings.flower_port),
                ("EXPORTER_PORT", self._settings.exporter_port),
                ("WORKER_METRICS_PORT", self._settings.worker_metrics_port),
            ]
        for name, port in ports:
            assert port is not None
            if is_taken(port):
                raise ProcessFailed(
                    f"port {port} is taken by another program. Stop that program, or set another port in {name} "
                    "(.env)."
                )

    def _migrate(self) -> None:
        migrate = Process(
            "migrate", [_find_tool("alembic"), "upgrade", "head"], print_prefixed, cwd=ROOT / "services/api"
        )
        if migrate.wait() != 0:
            raise ProcessFailed("the migrations failed. The lines above show the reason.")

    def _start_services(self) -> None:
        def worker_output(name: str, line: str) -> None:
            print_prefixed(name, line)
            if "celery@" in line and " ready." in line:
                self._worker_ready.set()

        settings = self._settings
        env = {"LOG_FORMAT": "console"} if settings.log_format == "auto" else {}
        celery = [_find_tool("celery"), "-A", "app.celery_app"]
        # Without the second that a worker spends on looking for other workers: there are none.
        worker = [*celery, "worker", f"--loglevel={settings.log_level}", "--without-mingle", "--without-gossip"]
        uvicorn = [sys.executable, "-m", "uvicorn", "main:app", "--port", str(settings.api_port)]
        flower = [*celery, "flower", f"--port={settings.flower_port}"]
        self._services += [
            Process("api", uvicorn, print_prefixed, cwd=ROOT / "services/api", env=env),
            Process(
                "worker",
                worker,
                worker_output,
                cwd=ROOT / "services/worker",
                env={**env, "METRICS_PORT": str(settings.worker_metrics_port)},
            ),
            Process(
                "flower",
                flower,
                print_prefixed,
                cwd=ROOT / "services/worker",
                env={**env, "ISSUETRACKER_URL": self._api},
            ),
            Process(
                "exporter",
                [sys.executable, "-m", "api.exporter"],
                print_prefixed,
                cwd=ROOT / "services/api",
                env={**env, "METRICS_PORT": str(settings.exporter_port)},
            ),
        ]
        self._watched += self._services

    def _wait_until_ready(self) -> bool:
        """Wait until API and worker are ready. Return False on an interrupt or if a process ended."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not (self._worker_ready.is_set() and self._is_ready(READINESS_PATH)):
            if self._interrupted.wait(0.05) or any(process.exit_code is not None for process in self._watched):
                return False
            if time.monotonic() > deadline:
                raise ProcessFailed(f"not ready after {READY_TIMEOUT_S} s. The lines above show the reason.")
        return True

    def _is_ready(self, path: str) -> bool:
        try:
            with urlopen(f"{self._api}{path}", timeout=2) as response:  # noqa: S310 - our own address
                return bool(response.status == 200)
        except (URLError, OSError):
            return False

    @property
    def _api(self) -> str:
        return f"http://127.0.0.1:{self._settings.api_port}"

    def _announce(self, seconds: float) -> None:
        about = SERVICES_READY if self._with_services else SERVERS_READY
        text = about.format(api=self._api, settings=self._settings)
        print(f"\nIssueTracker is ready after {seconds:.1f} s. Press Ctrl-C to stop it.\n{text}", flush=True)

    def _wait_until_end(self) -> int:
        while not self._interrupted.wait(0.2):
            for process in self._watched:
                if process.exit_code is not None:
                    process.wait(5)
                    print(
                        f"issuetracker: {process.name} ended with exit code {process.exit_code}. "
                        "Its last log lines above show the reason. Stopping the other processes.",
                        file=sys.stderr,
                        flush=True,
                    )
                    return 1
        print("\nStopping. The worker finishes its running jobs. Press Ctrl-C again to kill it.", flush=True)
        return 0

    def _stop_services(self) -> None:
        for service in self._services:
            if not service.stop(STOP_TIMEOUT_S):
                print(
                    f"issuetracker: {service.name} did not stop within {STOP_TIMEOUT_S} s and was killed.",
                    file=sys.stderr,
                )


def reset() -> None:
    """Delete the local data; fail if a stack is running on it."""
    if LOCAL.exists():
        with exclusive_lock(LOCAL):
            shutil.rmtree(LOCAL)


def _find_tool(name: str) -> str:
    """Return the path of a console script of this environment, independent of PATH."""
    return str(Path(sys.executable).with_name(name))
