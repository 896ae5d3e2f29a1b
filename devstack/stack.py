"""Starts the servers, the migrations and the services on one machine, and stops them in reverse order."""

import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from contracts.network import READINESS_PATH
from devstack import make
from devstack.ports import check_ports, list_ports
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
    print_line(f"{label} {line}")


def print_line(line: str, file: TextIO | None = None) -> None:
    """Print the line. Ignore a closed terminal or pipe, so that the processes still stop."""
    with suppress(OSError):
        print(line, file=file, flush=True)


@contextmanager
def exclusive_lock(local: Path) -> Iterator[None]:
    """Lock the local data. The system releases the lock when the process ends, even if it is killed."""
    try:
        local.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = (local / "lock").open("a+")
    except OSError as error:
        raise ProcessFailed(
            f"cannot write to {local}: {error.strerror}. Set LOCAL_DIR to a directory that you can write to."
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
        self._interrupted = threading.Event()
        self._make = make.find_make()

    def run(self) -> int:
        """Run until a signal, such as that of Ctrl-C (exit code 0), or until a process ends unexpectedly (1)."""
        started = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup requests
            signal.signal(signal.SIGHUP, self._interrupt)
        with exclusive_lock(LOCAL), ExitStack() as stack:
            check_ports(list_ports(self._settings, with_services=self._with_services))
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

    def _interrupt(self, number: int, _frame: object) -> None:
        """Stop; kill the services on a second Ctrl-C. A group gets SIGTERM twice, because make forwards it."""
        if self._interrupted.is_set() and number == signal.SIGINT:
            for service in self._services:
                service.kill_group()
        self._interrupted.set()

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
            if self._wait_for_interrupt(0.05) or any(process.exit_code is not None for process in self._watched):
                return False
            if time.monotonic() > deadline:
                raise ProcessFailed(f"not ready after {READY_TIMEOUT_S} s. The lines above show the reason.")
        return True

    def _is_ready(self, path: str) -> bool:
        try:
            # Not through the proxy of `http_proxy`, which cannot reach this machine.
            with build_opener(ProxyHandler({})).open(f"{self._api}{path}", timeout=2) as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False

    @property
    def _api(self) -> str:
        return f"http://127.0.0.1:{self._settings.api_port}"

    def _announce(self, seconds: float) -> None:
        about = SERVICES_READY if self._with_services else SERVERS_READY
        text = about.format(api=self._api, settings=self._settings)
        print_line(f"\nIssueTracker is ready after {seconds:.1f} s. Press Ctrl-C to stop it.\n{text}")

    def _wait_for_interrupt(self, seconds: float) -> bool:
        """Wait; return whether this process, or the `make` that started it, was interrupted."""
        return self._interrupted.wait(seconds) or (self._make is not None and make.is_interrupted(self._make))

    def _wait_until_end(self) -> int:
        while not self._wait_for_interrupt(0.2):
            for process in self._watched:
                if process.exit_code is not None:
                    process.wait(5)
                    print_line(
                        f"issuetracker: {process.name} ended with exit code {process.exit_code}. "
                        "Its last log lines above show the reason. Stopping the other processes.",
                        sys.stderr,
                    )
                    return 1
        print_line("\nStopping. The worker finishes its running jobs. Press Ctrl-C again to kill it.")
        return 0

    def _stop_services(self) -> None:
        for service in self._services:
            if not service.stop(STOP_TIMEOUT_S):
                print_line(
                    f"issuetracker: {service.name} did not stop within {STOP_TIMEOUT_S} s and was killed.",
                    sys.stderr,
                )


def reset() -> None:
    """Delete the local data; fail if a stack is running on it."""
    if LOCAL.exists():
        with exclusive_lock(LOCAL):
            shutil.rmtree(LOCAL)


def _find_tool(name: str) -> str:
    """Return the path of a console script of this environment, independent of PATH."""
    return str(Path(sys.executable).with_name(name))
