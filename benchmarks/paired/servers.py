"""The servers that all is measured on: as `make run` starts them, durable, with a database for each system."""

import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import redis
from psycopg2 import sql
from sqlalchemy.engine import make_url

from devstack.network import free_port
from devstack.postgres import Postgres
from devstack.process import Process
from devstack.valkey import Valkey
from tests.support.processes import ROOT, tool

ROLE = "issuetracker"


def drop_output(_name: str, _line: str) -> None:
    """Take a line and do nothing with it."""


@dataclass
class Servers:
    """PostgreSQL and Valkey, running; what they cost is measured by their processes."""

    postgres: Postgres
    valkey: Valkey
    postgres_port: int
    valkey_port: int

    def env(self, database: str) -> dict[str, str]:
        """Return the settings of a system that works on a database of its own, and shares the broker."""
        return {
            "DATABASE_URL": f"postgresql://{ROLE}@127.0.0.1:{self.postgres_port}/{database}",
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{self.valkey_port}/0",
            "CELERY_RESULT_BACKEND": f"redis://127.0.0.1:{self.valkey_port}/1",
        }

    def flush(self) -> None:
        """Forget every message and result."""
        with redis.Redis(port=self.valkey_port) as client:
            client.flushall()

    @contextmanager
    def superuser(self, database: str = "IssueTracker") -> Iterator["psycopg2.extensions.cursor"]:
        """Give a superuser's cursor that commits each statement."""
        connection = self.postgres.connect(database)
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
        connection.close()

    def create(self, database: str, extensions: Sequence[str] = ()) -> None:
        """Create a database that the role owns, and let the role in."""
        with self.superuser() as cursor:
            names = sql.Identifier(database), sql.Identifier(ROLE)
            cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
            cursor.execute("SHOW hba_file")
            (path,) = cursor.fetchone() or ("",)
            with Path(path).open("a") as rules:
                rules.write(f'host "{database}" "{ROLE}" 127.0.0.1/32 trust\n')
            cursor.execute("SELECT pg_reload_conf()")
        with self.superuser(database) as cursor:
            for extension in extensions:
                cursor.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))


def migrate(env: Mapping[str, str]) -> None:
    """Bring a database to the product's schema."""
    command = [tool("alembic"), "upgrade", "head"]
    process = Process("migrate", command, drop_output, cwd=ROOT / "services/api", env=env)
    if process.wait() != 0:
        raise SystemExit("benchmark: the migrations failed")


@contextmanager
def servers(options: Sequence[str] = ()) -> Iterator[Servers]:
    """Start both in a temporary directory, with further options for PostgreSQL; forget them afterwards."""
    # Whoever stops the run stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        # PostgreSQL does not run as root, and its own user has to get in.
        directory = Path(name)
        directory.chmod(0o755)
        postgres_port, valkey_port = free_port(), free_port()
        url = make_url(f"postgresql://{ROLE}@127.0.0.1:{postgres_port}/IssueTracker")
        postgres = Postgres(directory / "postgres", url, drop_output, options)
        valkey = Valkey(directory / "valkey", valkey_port, drop_output)
        try:
            postgres.start()
            valkey.start()
            yield Servers(postgres, valkey, postgres_port, valkey_port)
        finally:
            valkey.stop()
            postgres.stop()
