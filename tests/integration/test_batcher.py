"""Concurrent POSTs share a statement and a commit. A failing POST does not affect the others."""

import asyncio
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg2
import pytest

from api.access.principal import ANONYMOUS, set_principal
from api.database import DatabaseUnavailable, open_database
from api.issues.batcher import IssueBatcher
from api.issues.repository import build_row, create_issues
from api.issues.schemas import External, Issue, IssueCreate
from api.settings import ApiSettings
from tests.conftest import ApiFactory
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.waiting import DEADLINE_S, wait_until

TITLES = [f"Issue {number}" for number in range(12)]
LOCK_ISSUES = "LOCK TABLE issue IN SHARE MODE"
"""Blocks writes to the issue table until the transaction ends."""


def wait_in_flight(api: Api, count: int) -> None:
    """Wait until `count` requests are in flight, without the metrics request itself."""
    metric_line = f"issuetracker_http_requests_in_flight {count + 1}.0\n"
    wait_until(lambda: metric_line in api.client.get("/metrics").text, f"{count} requests to wait")


def post_together(
    api: Api, servers: Servers, meanwhile: Callable[[], object] = lambda: None
) -> list[httpx.Response]:
    """Post all titles. The first blocks in the database and the others wait until `meanwhile` has run."""
    lock_connection = psycopg2.connect(servers.database_url)
    with ThreadPoolExecutor(len(TITLES)) as pool:
        try:
            lock_connection.cursor().execute(LOCK_ISSUES)
            responses = [pool.submit(api.post, TITLES[0])]
            wait_in_flight(api, 1)
            responses += [pool.submit(api.post, title) for title in TITLES[1:]]
            wait_in_flight(api, len(TITLES))
            meanwhile()
        finally:
            lock_connection.close()
        return [response.result(DEADLINE_S) for response in responses]


def titles(database: Database) -> set[str]:
    return {row["title"] for row in database.query("SELECT title FROM issue")}


def test_concurrent_posts_share_one_commit_and_return_own_issue(
    api: Api, database: Database, servers: Servers
) -> None:
    responses = post_together(api, servers)

    assert {response.status_code for response in responses} == {201}
    assert [response.json()["title"] for response in responses] == TITLES
    assert database.one("SELECT count(DISTINCT xmin::text) FROM issue") == 2
    for response in responses:
        stored = api.client.get(response.headers["location"]).json()
        assert {**stored, "enrichment": None} == {**response.json(), "enrichment": None}
        message = database.one("SELECT message FROM job WHERE issue_id = %s", response.json()["id"])
        assert message["issue_id"] == response.json()["id"]
        assert message["request_id"] == response.headers["x-request-id"]
    audit_rows = database.query("SELECT subject FROM audit_log WHERE action = 'issue.created'")
    assert {row["subject"] for row in audit_rows} == {response.json()["id"] for response in responses}


def test_concurrent_posts_with_failing_row_fail_only_that_request(
    api: Api, database: Database, servers: Servers
) -> None:
    bad = TITLES[5]
    database.query(f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.title = '{bad}' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON issue FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    try:
        responses = post_together(api, servers)
    finally:
        database.query("DROP TRIGGER refuse ON issue; DROP FUNCTION refuse()")

    assert [response.status_code for response in responses] == [500 if title == bad else 201 for title in TITLES]
    assert titles(database) == set(TITLES) - {bad}


def test_concurrent_posts_with_disconnected_client_store_the_others(
    api: Api, database: Database, servers: Servers
) -> None:
    def post_and_disconnect() -> None:
        body = json.dumps({"title": "Left"}).encode()
        head = f"POST /api/v1/issues HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection((api.client.base_url.host, api.client.base_url.port or 0)) as connection:
            connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            wait_in_flight(api, len(TITLES) + 1)

    responses = post_together(api, servers, post_and_disconnect)

    assert {response.status_code for response in responses} == {201}
    assert titles(database) >= set(TITLES)


def test_concurrent_posts_while_database_is_killed_return_503(
    new_api: ApiFactory, database: Database, servers: Servers
) -> None:
    api = new_api({})
    assert api.post("Before").status_code == 201
    try:
        responses = post_together(api, servers, servers.kill_postgres)
    finally:
        servers.postgres.start()

    assert {response.status_code for response in responses} == {503}
    assert all(int(response.headers["retry-after"]) > 0 for response in responses)
    # Only the statement of the first request had reached the database for certain.
    assert "may have been stored" in responses[0].json()["detail"]
    wait_until(lambda: api.post("After").status_code == 201, "the API to use the database again")
    assert titles(database) == {"Before", "After"}


@pytest.mark.anyio
async def test_outage_after_commit_reports_possible_commit(database: Database, servers: Servers) -> None:
    """The existing issue of a batch is read after the commit of the others."""
    set_principal(ANONYMOUS)
    external = External(source="tracker:shop", id="7")
    async with open_database(ApiSettings(database_url=servers.database_url)) as pool:
        issue_batcher = IssueBatcher(pool)
        await issue_batcher.store(IssueCreate(title="Stored", external=external))
        rows = [build_row(IssueCreate(title="New")), build_row(IssueCreate(title="Again", external=external))]
        # The statement that stores issues does not read this table.
        with psycopg2.connect(servers.database_url) as lock_connection:
            lock_connection.cursor().execute("LOCK TABLE enrichment")
            with pytest.raises(DatabaseUnavailable) as caught:
                await create_issues(pool, rows)

    assert caught.value.may_be_committed
    assert titles(database) == {"Stored", "New"}


@pytest.mark.anyio
async def test_request_cancelled_before_its_batch_stores_nothing(database: Database, servers: Servers) -> None:
    set_principal(ANONYMOUS)
    lock_connection = psycopg2.connect(servers.database_url)
    async with open_database(ApiSettings(database_url=servers.database_url)) as pool:
        issue_batcher = IssueBatcher(pool)

        def post(title: str) -> "asyncio.Task[Issue | None]":
            return asyncio.create_task(issue_batcher.store(IssueCreate(title=title)))

        try:
            lock_connection.cursor().execute(LOCK_ISSUES)
            first = post("First")
            waiting_locks = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await asyncio.to_thread(
                wait_until, lambda: database.one(waiting_locks) > 0, "the first statement to wait for the lock"
            )
            cancelled, other = post("Cancelled"), post("Other")
            await asyncio.sleep(0)
            cancelled.cancel()
            first.cancel()
        finally:
            lock_connection.close()
        issue = await asyncio.wait_for(other, DEADLINE_S)

    assert issue is not None
    # A statement that has started cannot be cancelled.
    assert titles(database) == {"First", "Other"}
