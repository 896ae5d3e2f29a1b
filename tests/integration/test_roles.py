"""The roles of the components in PostgreSQL have the rights that they need, and not more."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest
import redis

from api.exporter import database as exporter
from devstack.postgres import find_program
from tests.conftest import STOP_TIMEOUT_S
from tests.support.access import ADMIN, CLOSED, bearer
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.processes import Api, start_api, start_worker
from tests.support.schedules import add_schedules
from tests.support.servers import Servers, kind, run_alembic
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.xdist_group("roles"),
    pytest.mark.skipif(kind() == "containers", reason="their server has no socket for this process"),
]

ROLES_SQL = Path(__file__).parents[2] / "deploy/k8s/base/postgres/init/roles.sql"
APPLICATION, EXPORTER, BACKUP = "issuetracker_application", "issuetracker_exporter", "issuetracker_backup"
UrlOf = Callable[[str], str]


@pytest.fixture(scope="module")
def url_of(servers: Servers) -> UrlOf:
    """Return a function that returns the URL of a role, over the server's Unix socket."""
    with servers.superuser() as cursor:
        for _ in range(2):
            cursor.execute(ROLES_SQL.read_text())
        cursor.execute(
            "SELECT setting FROM pg_settings WHERE name IN ('port', 'unix_socket_directories') ORDER BY name"
        )
        (port,), (directory,) = cursor.fetchall()
    assert run_alembic(servers.database_url, "upgrade", "head").returncode == 0
    return lambda role: f"postgresql://{role}@/IssueTracker?host={directory}&port={port}"


@pytest.fixture(scope="module")
def module_api(servers: Servers, url_of: UrlOf) -> Iterator[Api]:
    """Yield an API with a worker; both use the role of the application."""
    env = {**servers.env, **CLOSED, "DATABASE_URL": url_of(APPLICATION), "DISPATCH_POLL_SECONDS": "0.1"}
    api, worker = start_api(env), start_worker(env, "roles")
    api.client.headers.update(bearer(ADMIN))
    yield api
    api.client.close()
    api.process.stop(STOP_TIMEOUT_S)
    worker.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def application_api(module_api: Api, database: Database, broker: redis.Redis) -> Api:
    del database, broker
    return module_api


def cli(api: Api, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_cli(str(api.client.base_url), *arguments, env={"ISSUETRACKER_TOKEN": ADMIN})


def test_application_role_runs_api_and_worker(application_api: Api, database: Database) -> None:
    issue = application_api.post("The page is empty").json()["id"]
    enrichment = f"/api/v1/issues/{issue}/enrichment"
    wait_until(lambda: application_api.client.get(enrichment).status_code == 200, "the enrichment")
    wait_until(lambda: database.one("SELECT count(*) FROM audit_pending") == 0, "the seals")

    add_schedules(database)
    # The worker's next heartbeat comes within seconds.
    wait_until(
        lambda: cli(application_api, "doctor").returncode == 0, lambda: cli(application_api, "doctor").stdout
    )
    erased = cli(application_api, "issues", "erase", issue, "--wait")
    assert erased.returncode == 0, erased.stderr
    assert cli(application_api, "audit", "verify").stdout.splitlines()[-1] == "intact"


OWN_TRIGGER = """
CREATE TEMPORARY TABLE own (LIKE audit_log);
CREATE TRIGGER own AFTER INSERT ON own REFERENCING NEW TABLE AS written
FOR EACH STATEMENT EXECUTE FUNCTION chain_audit_entries()
"""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'mallory'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
        "DROP TRIGGER chain_audit_entries ON audit_log",
        "INSERT INTO audit_pending (entry_id, digest) VALUES (gen_random_uuid(), '')",
        "DELETE FROM audit_pending",
        OWN_TRIGGER,
        "UPDATE audit_seal SET hash = ''",
        "DELETE FROM audit_seal",
        "UPDATE alembic_version SET version_num = '0001'",
        "CREATE TABLE copy AS SELECT * FROM issue",
        "ALTER TABLE issue DISABLE TRIGGER ALL",
        "CREATE OR REPLACE FUNCTION seal_audit_entries(integer) RETURNS void LANGUAGE sql AS ''",
    ],
)
def test_application_role_cannot(statement: str, url_of: UrlOf, database: Database) -> None:
    del database
    connection = psycopg2.connect(url_of(APPLICATION))
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute(statement)
    connection.close()


def test_application_role_cannot_replace_the_chain_by_temporary_tables(url_of: UrlOf, database: Database) -> None:
    connection = psycopg2.connect(url_of(APPLICATION), application_name="issuetracker-api")
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE audit_pending (entry_id uuid, digest bytea)")
        cursor.execute(
            "INSERT INTO audit_log (id, actor, action, subject) VALUES (gen_random_uuid(), 'a', 'b', 'c')"
        )
        cursor.execute("SELECT count(*) FROM pg_temp.audit_pending")
        assert cursor.fetchone() == (0,)
    connection.close()

    # In one statement, because an API may seal the entry at the moment.
    entries = "SELECT (SELECT count(*) FROM audit_pending) + (SELECT count(*) FROM audit_seal)"
    assert database.one(entries) == 1


@pytest.mark.anyio
async def test_exporter_role_reads_all_metrics(url_of: UrlOf, database: Database) -> None:
    del database
    for _ in range(20):
        state = await exporter.read(url_of(EXPORTER), None)
        missing = ["all"] if state is None else [name for name in state.__slots__ if getattr(state, name) is None]
        if not missing:
            break  # a query may time out on a busy machine

    assert missing == []


@pytest.mark.parametrize("table", ["issue", "audit_log", "api_token", "webhook"])
def test_exporter_role_cannot_read(table: str, url_of: UrlOf) -> None:
    connection = psycopg2.connect(url_of(EXPORTER))
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute(f"SELECT FROM {table}")
    connection.close()


def test_backup_role_dumps_and_cannot_write(url_of: UrlOf, application_api: Api) -> None:
    application_api.post("The page is empty")
    dumped = subprocess.run([find_program("pg_dump"), url_of(BACKUP)], capture_output=True, text=True, check=True)

    assert "The page is empty" in dumped.stdout
    connection = psycopg2.connect(url_of(BACKUP))
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("DELETE FROM issue")
    connection.close()
