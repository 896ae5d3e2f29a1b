"""Migrations: up, down, one migrator at a time, no waiting in front of readers."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from devstack.network import free_port, wait_until
from devstack.postgres import Postgres
from tests.support.database import Database
from tests.support.processes import API, tool
from tests.support.servers import FAST, Log

MIGRATION_LOCK = 0x1550_7AC4


def alembic(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("alembic"), *arguments],
        cwd=API,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server with an empty database."""
    url = f"postgresql://issuetracker@127.0.0.1:{free_port()}/IssueTracker"
    directory: Path = tmp_path_factory.mktemp("empty")
    server = Postgres(directory, make_url(url), Log(), FAST)
    server.start()
    yield url
    server.stop()


@pytest.fixture
def url(empty_server: str) -> Iterator[str]:
    yield empty_server
    assert alembic(empty_server, "downgrade", "base").returncode == 0


def tables(url: str) -> set[str]:
    database = Database(url)
    rows = database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    database.close()
    return {row["tablename"] for row in rows}


def test_up_check_down_and_up_again(url: str) -> None:
    assert alembic(url, "upgrade", "head").returncode == 0
    assert alembic(url, "check").returncode == 0
    assert {"issue", "job", "job_failure", "enrichment"} < tables(url)

    assert alembic(url, "downgrade", "base").returncode == 0
    assert tables(url) == {"alembic_version"}

    assert alembic(url, "upgrade", "head").returncode == 0


def test_a_second_migrator_waits_for_the_first(url: str) -> None:
    with psycopg2.connect(url) as first, first.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        second = subprocess.Popen(
            [tool("alembic"), "upgrade", "head"], cwd=API, env={**os.environ, "DATABASE_URL": url}
        )
        watcher = Database(url)
        wait_until(
            lambda: watcher.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1,
            30,
            "the second migrator to wait",
        )
        assert "issue" not in tables(url)
        watcher.close()
    first.close()

    assert second.wait(30) == 0
    assert "issue" in tables(url)


def test_a_migration_gives_up_rather_than_queue_in_front_of_readers(url: str) -> None:
    assert alembic(url, "upgrade", "head").returncode == 0
    with psycopg2.connect(url) as reader, reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM issue")

        blocked = alembic(url, "downgrade", "base")

    reader.close()
    assert blocked.returncode != 0
    assert "lock timeout" in blocked.stderr
    assert {"issue", "job"} < tables(url), "a migration is one transaction"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("title", "''"),
        ("title", "repeat('t', 256)"),
        ("description", "repeat('d', 65537)"),
        ("priority", "'urgent'"),
        ("status", "'lost'"),
    ],
)
def test_the_database_refuses_what_the_api_refuses(url: str, column: str, value: str) -> None:
    assert alembic(url, "upgrade", "head").returncode == 0
    values = {"id": "gen_random_uuid()", "title": "'t'", column: value}
    database = Database(url)

    with pytest.raises(psycopg2.errors.CheckViolation):
        database.query(f"INSERT INTO issue ({', '.join(values)}) VALUES ({', '.join(values.values())})")

    database.close()
