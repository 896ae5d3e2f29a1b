"""Migrations: upgrade, downgrade, one process at a time, and no blocking of readers."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg2
import pytest

from contracts.ids import new_id
from devstack.address import DatabaseAddress
from devstack.postgres import Postgres
from tests.support.database import Database
from tests.support.ports import free_port
from tests.support.processes import start_api
from tests.support.servers import FAST_OPTIONS, Log, run_alembic, start_alembic
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.xdist_group("migrations")

MIGRATION_LOCK = 0x1550_7AC4
LOCK_QUERY = "SELECT pg_try_advisory_lock(%"


@dataclass
class EmptyServer:
    """A server with an empty database."""

    postgres: Postgres
    url: str

    def execute_as_superuser(self, statement: str) -> None:
        connection = self.postgres.connect("IssueTracker")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptyServer]:
    url = f"postgresql://issuetracker@127.0.0.1:{free_port()}/IssueTracker"
    directory: Path = tmp_path_factory.mktemp("empty")
    server = Postgres(directory, DatabaseAddress.parse(url), Log(), FAST_OPTIONS)
    server.start()
    yield EmptyServer(server, url)
    server.stop()


@pytest.fixture
def url(empty_server: EmptyServer) -> Iterator[str]:
    yield empty_server.url
    assert run_alembic(empty_server.url, "downgrade", "base").returncode == 0


@pytest.fixture
def url_without_extensions(empty_server: EmptyServer, url: str) -> Iterator[str]:
    """Return the URL of a database without extensions."""
    empty_server.execute_as_superuser("DROP EXTENSION vector; DROP EXTENSION pg_trgm")
    yield url
    empty_server.execute_as_superuser("CREATE EXTENSION vector CASCADE; CREATE EXTENSION IF NOT EXISTS pg_trgm")


def tables(url: str) -> set[str]:
    database = Database(url)
    rows = database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    database.close()
    return {row["tablename"] for row in rows}


def test_migrations_upgrade_downgrade_and_upgrade_succeed(url: str) -> None:
    assert run_alembic(url, "upgrade", "head").returncode == 0
    assert run_alembic(url, "check").returncode == 0
    assert {"issue", "job", "job_failure", "enrichment"} < tables(url)

    assert run_alembic(url, "downgrade", "base").returncode == 0
    assert tables(url) == {"alembic_version"}

    assert run_alembic(url, "upgrade", "head").returncode == 0


def test_migration_to_audit_chain_chains_old_entries(url: str) -> None:
    assert run_alembic(url, "upgrade", "0016").returncode == 0
    database = Database(url)
    database.query(
        "INSERT INTO audit_log (id, actor, action, subject)"
        " SELECT gen_random_uuid(), 'alice', 'issue.created', number FROM generate_series(1, 10001) AS number"
    )

    assert run_alembic(url, "upgrade", "head").returncode == 0

    assert database.one("SELECT sealed FROM seal_audit_entries(20000)") == 10001
    database.close()


def test_migration_of_the_search_finds_old_issues_without_events(url: str) -> None:
    assert run_alembic(url, "upgrade", "0019").returncode == 0
    database = Database(url)
    database.query(
        "INSERT INTO issue (id, title, description)"
        " SELECT gen_random_uuid(), 'java.io.IOException ' || number, 'ログインできない'"
        " FROM generate_series(1, 1001) number"
    )
    found = "SELECT count(*) FROM issue WHERE lexemes @@ {}"
    assert database.one(found.format("websearch_to_tsquery('english', 'IOException')")) == 0
    events = database.one("SELECT count(*) FROM event")

    assert run_alembic(url, "upgrade", "head").returncode == 0

    for term in ("IOException", "ログイン", "exception"):
        assert database.one(found.format(f"search_query('{term}', false)")) == 1001
    assert database.one("SELECT count(*) FROM event") == events
    database.query("UPDATE issue SET title = 'Changed' WHERE title = 'java.io.IOException 7'")
    assert database.one(found.format("search_query('changed', false)")) == 1
    assert database.one("SELECT count(*) FROM event") == events + 1
    database.close()


def test_migration_of_the_search_accepts_old_issue_with_rare_characters(url: str) -> None:
    assert run_alembic(url, "upgrade", "0019").returncode == 0
    database = Database(url)
    description = "".join(chr(0x20000 + number % 42_000) for number in range(65_536))
    database.query(
        "INSERT INTO issue (id, title, description) VALUES (gen_random_uuid(), 'Rare', %s)", description
    )

    assert run_alembic(url, "upgrade", "head").returncode == 0

    for term in ("rare", description[:3]):
        found = f"SELECT count(*) FROM issue WHERE lexemes @@ search_query('{term}', false)"
        assert database.one(found) == 1, term
    database.close()


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_search_does_not_depend_on_the_character_type_of_the_database(
    locale: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devstack.postgres.LOCALE", (f"--locale={locale}", "--locale-provider=libc"))
    url = f"postgresql://issuetracker@127.0.0.1:{free_port()}/IssueTracker"
    server = Postgres(tmp_path_factory.mktemp("locale"), DatabaseAddress.parse(url), Log(), FAST_OPTIONS)
    server.start()
    try:
        assert run_alembic(url, "upgrade", "head").returncode == 0
        database = Database(url)
        assert database.one("SELECT datctype FROM pg_database WHERE datname = current_database()") == locale
        database.query(
            "INSERT INTO issue (id, title) VALUES (gen_random_uuid(), 'Ёлка—Café ログインできない ΟΔΟΣ')"
        )
        for term in ("елка", "ЁЛКА", "cafe", "ログイン", "οδος"):
            found = f"SELECT count(*) FROM issue WHERE lexemes @@ search_query('{term}', false)"
            assert database.one(found) == 1, term
        database.close()
    finally:
        server.stop()


def extensions(url: str) -> set[str]:
    database = Database(url)
    rows = database.query("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'")
    database.close()
    return {row["extname"] for row in rows}


def has_vector_index(url: str) -> bool:
    database = Database(url)
    found = database.one("SELECT count(*) FROM pg_indexes WHERE indexname = 'ix_issue_search_embedding'")
    database.close()
    return bool(found)


def test_migrations_with_pgvector_create_vector_index(url: str) -> None:
    assert run_alembic(url, "upgrade", "head").returncode == 0

    assert extensions(url) == {"vector", "pg_trgm"}
    assert has_vector_index(url)
    assert run_alembic(url, "check").returncode == 0, "the optional index must not count as a difference"


def test_migrations_without_pgvector_find_similar_issues_by_full_text(url_without_extensions: str) -> None:
    url = url_without_extensions

    assert run_alembic(url, "upgrade", "head").returncode == 0

    assert extensions(url) == {"pg_trgm"}, "the role may create only trusted extensions"
    assert not has_vector_index(url)
    assert run_alembic(url, "check").returncode == 0
    assert _similar_titles(url) == ["Printing fails on large paper"]
    database = Database(url)
    database.query("DROP EXTENSION pg_trgm")
    database.close()
    assert _similar_titles(url) == ["Printing fails on large paper"], "full text search alone must find the issue"
    assert run_alembic(url, "downgrade", "0003").returncode == 0
    assert run_alembic(url, "upgrade", "head").returncode == 0


def _similar_titles(url: str) -> list[str]:
    """Return the similar titles that an API returns for one of three issues with stored vectors."""
    database = Database(url)
    database.query("TRUNCATE issue CASCADE")
    ids = [new_id() for _ in range(3)]
    titles = ["Printing fails on large paper", "Dark theme for the settings", "Large paper: printing fails"]
    for issue_id, title in zip(ids, titles, strict=True):
        database.query("INSERT INTO issue (id, title) VALUES (%s, %s)", issue_id, title)
        database.query(
            "INSERT INTO issue_search (issue_id, words, embedding, model) "
            "VALUES (%s, to_tsvector('english', %s), array_fill(0.05::real, ARRAY[384]), 'some-model')",
            issue_id,
            title,
        )
    database.close()
    api = start_api({"DATABASE_URL": url, "CELERY_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0"})
    response: httpx.Response = api.client.get(f"/api/v1/issues/{ids[-1]}/similar")
    api.client.close()
    api.process.stop(DEADLINE_S)
    items = response.json()["items"]
    assert {item["by"] for item in items} == {"full text"}
    assert not any(item["likely_duplicate"] for item in items)
    return [item["title"] for item in items]


def test_migrations_after_interruption_make_existing_issues_searchable(url: str) -> None:
    assert run_alembic(url, "upgrade", "0004").returncode == 0
    database = Database(url)
    for title in ("Printing fails", "Saving fails"):
        database.query("INSERT INTO issue (id, title) VALUES (%s, %s)", new_id(), title)
    assert run_alembic(url, "upgrade", "0005").returncode == 0
    # The state after an interruption: one updated row, and an index on the wrong column.
    database.query("UPDATE issue SET title = title WHERE title = 'Saving fails'")
    database.query("CREATE INDEX ix_issue_created ON issue (id)")

    assert run_alembic(url, "upgrade", "head").returncode == 0

    assert database.one("SELECT count(*) FROM issue WHERE lexemes @@ to_tsquery('english', 'fail')") == 2
    assert "created_at" in database.one("SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_issue_created'")
    assert database.one("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    database.close()


def test_migrations_by_second_process_wait_for_first(url: str) -> None:
    with psycopg2.connect(url) as first, first.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        second = start_alembic(url, Log(), "upgrade", "head")
        watcher = Database(url)
        wait_until(
            lambda: watcher.one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s", LOCK_QUERY) == 1,
            "the second migrator to wait",
        )
        assert "issue" not in tables(url)
        watcher.close()
    first.close()

    assert second.wait(DEADLINE_S) == 0
    assert "issue" in tables(url)


def test_migration_blocked_by_reader_times_out(url: str) -> None:
    assert run_alembic(url, "upgrade", "head").returncode == 0
    with psycopg2.connect(url) as reader, reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM issue")

        blocked = run_alembic(url, "downgrade", "base")

    reader.close()
    assert blocked.returncode != 0
    assert "lock timeout" in blocked.stdout
    assert {"issue", "job"} < tables(url), "a failed migration must roll back completely"


def test_migrations_never_force_request_to_replan_twice(url: str) -> None:
    """asyncpg replans a statement once per request. This test executes it again after half a second."""
    assert run_alembic(url, "upgrade", "0002").returncode == 0
    with psycopg2.connect(url) as seed, seed.cursor() as cursor:
        cursor.execute(
            "INSERT INTO issue (id, title, description, priority) VALUES (%s, 't', '', 'low')", [str(new_id())]
        )
    migrator = start_alembic(url, Log(), "upgrade", "head")
    reader = psycopg2.connect(url)
    reader.autocommit = True
    replans = 0
    with reader.cursor() as cursor:
        cursor.execute("PREPARE request AS SELECT * FROM issue")
        while migrator.exit_code is None:
            try:
                cursor.execute("EXECUTE request")
            except psycopg2.errors.FeatureNotSupported:  # "cached plan must not change result type"
                cursor.execute("DEALLOCATE request")
                cursor.execute("PREPARE request AS SELECT * FROM issue")
                time.sleep(0.5)  # on the client, because CREATE INDEX CONCURRENTLY waits for running statements
                cursor.execute("EXECUTE request")
                replans += 1
    reader.close()

    assert migrator.exit_code == 0
    assert replans == 4, "only 0003, 0005, 0010 and 0021 may change the columns of the table"


def test_migration_after_interrupted_index_build_succeeds(url: str) -> None:
    assert run_alembic(url, "upgrade", "0002").returncode == 0
    with psycopg2.connect(url) as backup, backup.cursor() as cursor:
        # CREATE INDEX CONCURRENTLY waits for every older snapshot. After a timeout, its invalid index remains.
        backup.set_session(isolation_level="REPEATABLE READ")
        cursor.execute("SELECT count(*) FROM job")
        interrupted = run_alembic(url, "upgrade", "head")
    backup.close()
    assert interrupted.returncode != 0
    assert "lock timeout" in interrupted.stdout
    assert not _is_valid(url, "ix_issue_confirmed")

    assert run_alembic(url, "upgrade", "head").returncode == 0

    assert _is_valid(url, "ix_issue_confirmed")
    assert run_alembic(url, "check").returncode == 0


def _is_valid(url: str, index: str) -> bool:
    database = Database(url)
    valid: bool = database.one("SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", index)
    database.close()
    return valid


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("title", "''"),
        ("title", "repeat('t', 513)"),
        ("description", "repeat('d', 65537)"),
        ("priority", "'urgent'"),
        ("status", "'lost'"),
    ],
)
def test_database_constraint_rejects_invalid_issue(url: str, column: str, value: str) -> None:
    assert run_alembic(url, "upgrade", "head").returncode == 0
    values = {"id": "gen_random_uuid()", "title": "'t'", column: value}
    database = Database(url)

    with pytest.raises(psycopg2.errors.CheckViolation):
        database.query(f"INSERT INTO issue ({', '.join(values)}) VALUES ({', '.join(values.values())})")

    database.close()
