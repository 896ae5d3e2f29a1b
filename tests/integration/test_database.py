"""The API's database transactions: which errors are an outage, and what runs after a commit."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import psycopg2
import pytest
from prometheus_client import REGISTRY

from api.access.principal import ANONYMOUS, set_principal
from api.database import Database as Pool
from api.database import DatabaseUnavailable, open_database
from api.issues.repository import build_row, create_issues
from api.issues.schemas import IssueCreate
from api.settings import ApiSettings
from contracts.names import Queue, Task
from tests.support.database import Database
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

TERMINATE_ME = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
async def pool(database: Database, servers: Servers) -> AsyncIterator[Pool]:
    del database
    set_principal(ANONYMOUS)
    async with open_database(ApiSettings(database_url=servers.database_url)) as pool:
        yield pool


def created_jobs() -> float:
    labels = {"task": Task.ENRICH_ISSUE.value, "queue": Queue.ISSUES.value}
    return REGISTRY.get_sample_value("issuetracker_jobs_created_total", labels) or 0


async def create_issue_then(pool: Pool, fail: Callable[[], Awaitable[None]]) -> None:
    """Create an issue and fail, in one transaction."""
    async with pool.transaction():
        await create_issue(pool)
        await fail()


async def create_issue(pool: Pool) -> None:
    await create_issues(pool, [build_row(IssueCreate(title="Printing fails"))])


async def test_file_error_in_transaction_is_raised_unchanged(pool: Pool, database: Database) -> None:
    async def open_missing_file() -> None:
        await asyncio.to_thread(Path("missing.csv").read_bytes)

    with pytest.raises(FileNotFoundError):
        await create_issue_then(pool, open_missing_file)

    assert database.one("SELECT count(*) FROM issue") == 0


async def test_connection_lost_in_transaction_is_an_outage_that_committed_nothing(pool: Pool) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        await create_issue_then(pool, lambda: pool.execute(TERMINATE_ME))

    assert not caught.value.may_be_committed
    assert await pool.fetchval("SELECT count(*) FROM issue") == 0


async def test_connection_lost_in_statement_is_an_outage_with_unknown_outcome(pool: Pool) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        await pool.execute(TERMINATE_ME)

    assert caught.value.may_be_committed


async def test_read_only_server_serves_reads_without_new_connection_per_write(
    pool: Pool, servers: Servers
) -> None:
    del pool  # it has emptied the database
    url = f"{servers.database_url}?default_transaction_read_only=on"
    async with open_database(ApiSettings(database_url=url)) as read_only:
        started = time.monotonic()
        pids = set()
        for _ in range(30):
            pids.add(await read_only.fetchval("SELECT pg_backend_pid()"))
            for write in (create_issue(read_only), create_issue_then(read_only, lambda: asyncio.sleep(0))):
                with pytest.raises(DatabaseUnavailable, match="ReadOnlySQLTransactionError") as caught:
                    await write
                assert not caught.value.may_be_committed
        # A connection is not replaced before it is one second old.
        assert len(pids) <= 2 + time.monotonic() - started


async def test_server_killed_at_commit_is_an_outage_with_unknown_outcome(
    pool: Pool, database: Database, servers: Servers
) -> None:
    # A deferred constraint trigger runs at COMMIT, and waits there for a lock.
    database.query("""
        CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON issue
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()
    """)
    lock_connection = psycopg2.connect(servers.database_url)
    try:
        lock_connection.cursor().execute("SELECT pg_advisory_lock(4711)")

        async def commit() -> None:
            async with pool.transaction():
                await create_issue(pool)

        committing = asyncio.create_task(commit())
        waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
        await asyncio.to_thread(wait_until, lambda: bool(database.query(waiting)), "the commit to wait")
        database.query(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) AS waiting")
        with pytest.raises(DatabaseUnavailable) as caught:
            await committing
    finally:
        lock_connection.close()
        database.query("DROP TRIGGER wait_at_commit ON issue; DROP FUNCTION wait_at_commit()")

    assert caught.value.may_be_committed


async def test_constraint_violation_in_transaction_is_raised_unchanged(pool: Pool) -> None:
    with pytest.raises(asyncpg.NotNullViolationError):
        await create_issue_then(pool, lambda: pool.execute("INSERT INTO issue (id) VALUES (NULL)"))


async def test_created_jobs_of_rolled_back_transaction_are_not_counted(pool: Pool) -> None:
    before = created_jobs()

    with pytest.raises(asyncpg.DivisionByZeroError):
        await create_issue_then(pool, lambda: pool.execute("SELECT 1 / 0"))

    assert created_jobs() == before


async def test_created_jobs_are_counted_at_commit(pool: Pool) -> None:
    before = created_jobs()

    async with pool.transaction():
        await create_issue(pool)
        assert created_jobs() == before

    assert created_jobs() == before + 1


async def test_created_job_without_transaction_is_counted_immediately(pool: Pool) -> None:
    before = created_jobs()

    await create_issue(pool)

    assert created_jobs() == before + 1
