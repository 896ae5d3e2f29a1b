"""POSTs that run at the same time share a statement and a commit, and no fault of one another."""

import asyncio
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg2
import pytest

from api.access.principal import ANONYMOUS, set_principal
from api.database import open_database
from api.issues.batcher import IssueBatcher
from api.issues.schemas import Issue, IssueCreate
from api.settings import ApiSettings
from devstack.network import wait_until
from tests.conftest import ApiFactory
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.servers import Servers

TITLES = [f"Issue {number}" for number in range(12)]
HOLD = "LOCK TABLE issue IN SHARE MODE"
"""Lets nobody write an issue until the transaction ends."""


def wait_in_flight(api: Api, count: int) -> None:
    """Wait until the API works on so many requests, the question itself aside."""
    told = f"issuetracker_http_requests_in_flight {count + 1}.0\n"
    wait_until(lambda: told in api.client.get("/metrics").text, 30, f"{count} requests to wait")


def post_together(
    api: Api, servers: Servers, meanwhile: Callable[[], object] = lambda: None
) -> list[httpx.Response]:
    """Post all titles: the first is being stored, and the others wait for it, until `meanwhile` has run."""
    holder = psycopg2.connect(servers.database_url)
    with ThreadPoolExecutor(len(TITLES)) as pool:
        try:
            holder.cursor().execute(HOLD)
            answers = [pool.submit(api.post, TITLES[0])]
            wait_in_flight(api, 1)
            answers += [pool.submit(api.post, title) for title in TITLES[1:]]
            wait_in_flight(api, len(TITLES))
            meanwhile()
        finally:
            holder.close()
        return [answer.result(30) for answer in answers]


def titles(database: Database) -> set[str]:
    return {row["title"] for row in database.query("SELECT title FROM issue")}


def test_what_waits_shares_one_commit_and_each_gets_its_own_issue(
    api: Api, database: Database, servers: Servers
) -> None:
    answers = post_together(api, servers)

    assert {answer.status_code for answer in answers} == {201}
    assert [answer.json()["title"] for answer in answers] == TITLES
    assert database.one("SELECT count(DISTINCT xmin::text) FROM issue") == 2
    for answer in answers:
        stored = api.client.get(answer.headers["location"]).json()
        assert {**stored, "enrichment": None} == {**answer.json(), "enrichment": None}
        message = database.one("SELECT message FROM job WHERE issue_id = %s", answer.json()["id"])
        assert message["issue_id"] == answer.json()["id"]
        assert message["request_id"] == answer.headers["x-request-id"]
    audited = database.query("SELECT subject FROM audit_log WHERE action = 'issue.created'")
    assert {row["subject"] for row in audited} == {answer.json()["id"] for answer in answers}


def test_a_row_that_fails_fails_alone(api: Api, database: Database, servers: Servers) -> None:
    bad = TITLES[5]
    database.query(f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.title = '{bad}' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON issue FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    try:
        answers = post_together(api, servers)
    finally:
        database.query("DROP TRIGGER refuse ON issue; DROP FUNCTION refuse()")

    assert [answer.status_code for answer in answers] == [500 if title == bad else 201 for title in TITLES]
    assert titles(database) == set(TITLES) - {bad}


def test_a_client_that_leaves_takes_nobody_with_it(api: Api, database: Database, servers: Servers) -> None:
    def come_and_leave() -> None:
        body = json.dumps({"title": "Left"}).encode()
        head = f"POST /api/v1/issues HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection((api.client.base_url.host, api.client.base_url.port or 0)) as connection:
            connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            wait_in_flight(api, len(TITLES) + 1)

    answers = post_together(api, servers, come_and_leave)

    assert {answer.status_code for answer in answers} == {201}
    assert titles(database) >= set(TITLES)


def test_the_database_killed_under_a_batch_leaves_no_201_without_its_row(
    new_api: ApiFactory, database: Database, servers: Servers
) -> None:
    api = new_api({})
    assert api.post("Before").status_code == 201
    try:
        answers = post_together(api, servers, servers.postgres_process.kill_group)
    finally:
        servers.postgres.start()

    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    # The first was on its way; the others were not, or not that the API could know.
    assert "is not known" in answers[0].json()["detail"]
    wait_until(lambda: api.post("After").status_code == 201, 30, "the API to use the database again")
    assert titles(database) == {"Before", "After"}


@pytest.mark.anyio
async def test_a_request_that_is_cancelled_before_its_turn_stores_nothing(
    database: Database, servers: Servers
) -> None:
    set_principal(ANONYMOUS)
    holder = psycopg2.connect(servers.database_url)
    async with open_database(ApiSettings(database_url=servers.database_url)) as pool:
        issue_batcher = IssueBatcher(pool)

        def post(title: str) -> "asyncio.Task[Issue | None]":
            return asyncio.create_task(issue_batcher.store(IssueCreate(title=title)))

        try:
            holder.cursor().execute(HOLD)
            first = post("First")
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await asyncio.to_thread(wait_until, lambda: database.one(waits) > 0, 30, "the first to be under way")
            cancelled, other = post("Cancelled"), post("Other")
            await asyncio.sleep(0)
            cancelled.cancel()
            first.cancel()
        finally:
            holder.close()
        issue = await asyncio.wait_for(other, 30)

    assert issue is not None
    # What was under way could not be called back.
    assert titles(database) == {"First", "Other"}
