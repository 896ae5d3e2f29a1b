"""`python -m api.wait_for`, which init containers run, with a real server and its migrations."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.address import DatabaseAddress
from devstack.postgres import Postgres
from devstack.process import Process
from tests.support.forked import ForkedProcess, run_until_exit
from tests.support.ports import free_port
from tests.support.processes import API
from tests.support.servers import FAST_OPTIONS, Log, run_alembic
from tests.support.waiting import DEADLINE_S, wait_until


def start_wait(target: str, url: str, log: Log) -> Process:
    command = [sys.executable, "-m", "api.wait_for", target]
    return ForkedProcess(target, command, log, cwd=API, env={"DATABASE_URL": url, "LOG_FORMAT": "json"})


def migrate(url: str, revision: str) -> None:
    done = run_alembic(url, "upgrade", revision)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def url() -> str:
    """Return a database URL on a free port."""
    return f"postgresql://issuetracker@127.0.0.1:{free_port()}/IssueTracker"


@pytest.fixture
def server_log() -> Log:
    return Log()


@pytest.fixture
def server(url: str, server_log: Log, tmp_path: Path) -> Iterator[Postgres]:
    """Yield a server for the URL that is not started."""
    postgres = Postgres(
        tmp_path, DatabaseAddress.parse(url), server_log, [*FAST_OPTIONS, "-c", "log_statement=all"]
    )
    yield postgres
    postgres.stop()


def test_wait_for_ends_when_database_and_schema_are_ready(server: Postgres, server_log: Log, url: str) -> None:
    log, schema_log = Log(), Log()
    database, schema = start_wait("database", url, log), start_wait("schema", url, schema_log)
    wait_until(lambda: log.has("the database is unavailable"), "the reason")
    wait_until(lambda: schema_log.has("the database is unavailable"), "the reason")

    server.start()
    assert database.wait(DEADLINE_S) == 0
    wait_until(lambda: schema_log.has("the schema is at no revision"), "the next reason")
    wait_until(lambda: server_log.has("alembic_version"), "the server to log the query")
    assert not server_log.has("ERROR"), server_log
    migrate(url, "0001")
    wait_until(lambda: schema_log.has("the schema is at 0001 and must be at "), "the next reason")
    assert schema.exit_code is None
    migrate(url, "head")
    assert schema.wait(DEADLINE_S) == 0

    connection = server.connect("IssueTracker")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE issuetracker_application LOGIN")
        cursor.execute("SHOW unix_socket_directories")
        ((directory,),) = cursor.fetchall()
        port = DatabaseAddress.parse(url).port
        socket_url = f"postgresql://issuetracker_application@/IssueTracker?host={directory}&port={port}"
        role_log = Log()
        role = start_wait("schema", socket_url, role_log)
        wait_until(lambda: role_log.has("the schema is at no revision"), lambda: f"the reason\n{role_log}")
        assert not server_log.has("ERROR"), server_log
        cursor.execute("SELECT grant_access()")
        assert role.wait(DEADLINE_S) == 0

        # The migration of a newer release is unknown here, but the pods of this release must still start.
        cursor.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert start_wait("schema", url, Log()).wait(DEADLINE_S) == 0


def test_wait_for_on_sigterm_exits(url: str) -> None:
    log = Log()
    process = start_wait("schema", url, log)
    wait_until(lambda: log.has("the database is unavailable"), "the reason")

    process.send(signal.SIGTERM)

    assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM


@pytest.mark.parametrize("arguments", [[], ["redis"]])
def test_wait_for_with_bad_arguments_prints_one_line_and_exits_with_2(arguments: list[str]) -> None:
    code, lines = run_until_exit(API, [sys.executable, "-m", "api.wait_for", *arguments], {})

    assert code == 2
    assert lines == ["wait_for: Pass one argument: database or schema."]
