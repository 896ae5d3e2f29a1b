"""The event stream: every change arrives, in order, across cuts, restarts and slow listeners."""

import asyncio
import re
import socket
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import asyncpg
import psycopg2
import pytest

from api.events import repository
from devstack.network import wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.access import CLOSED, Tokens, bearer
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.stream import Listener

MANY = 1500
"""More events than a batch of the table, and with their padding more than a socket's buffers hold."""


def add_events(database: Database, count: int, kind: str = "issue.changed") -> None:
    """Insert events as the triggers do, many at a time; the state says which is which."""
    database.query(
        "INSERT INTO event (kind, issue_id, state) "
        "SELECT %s, gen_random_uuid(), lpad(number::text, 400, '0') FROM generate_series(1, %s) number",
        kind,
        count,
    )


def test_an_issue_is_heard_of_from_its_creation_to_its_deletion(api: Api, new_worker: WorkerFactory) -> None:
    new_worker({})
    with Listener(api) as listener:
        assert [event.kind for event in listener.received] == ["sync"]
        issue_id = api.post("The page is empty").json()["id"]
        listener.wait_for(
            lambda: any(event.data.get("state") == "succeeded" for event in listener.received), "its enrichment"
        )
        assert api.client.delete(f"/api/v1/issues/{issue_id}").status_code == 204
        listener.wait_for(lambda: listener.ids("issue.deleted") == [issue_id], "its deletion")

    assert listener.ids("issue.created") == [issue_id]
    states = [
        event.data["state"] for event in listener.received if event.data.get("task", "").endswith("enrich_issue")
    ]
    assert states == ["queued", "running", "succeeded"]
    assert issue_id in listener.ids("issue.changed")


def test_a_cut_stream_resumes_without_a_gap(api: Api) -> None:
    with Listener(api) as first:
        before = [api.post(f"Issue {number}").json()["id"] for number in range(5)]
        first.wait_for(lambda: len(first.ids("issue.created")) == 5, "five issues")
    missed = [api.post(f"Issue {number} in between").json()["id"] for number in range(5)]
    with Listener(api, first.last_id) as second:
        after = [api.post(f"Issue {number} afterwards").json()["id"] for number in range(5)]
        second.wait_for(lambda: len(second.ids("issue.created")) >= 10, "what was missed, and what follows")

    assert first.ids("issue.created") == before
    assert second.ids("issue.created") == [*missed, *after]
    assert all(event.kind != "sync" for event in second.received)


def _was_read_since(database: Database, moment: datetime) -> bool:
    since = "application_name = 'issuetracker-events' AND state = 'idle' AND query_start > %s"
    return bool(database.query(f"SELECT pid FROM pg_stat_activity WHERE {since}", moment))


def test_a_transaction_that_commits_late_is_not_passed_over(
    api: Api, servers: Servers, database: Database
) -> None:
    late = psycopg2.connect(servers.database_url)
    try:
        with Listener(api) as listener:
            with late.cursor() as cursor:
                cursor.execute("INSERT INTO event (kind, issue_id) VALUES ('issue.changed', gen_random_uuid())")
                cursor.execute(
                    "INSERT INTO issue (id, title) VALUES (gen_random_uuid(), 'Late') RETURNING id::text"
                )
                ((late_id,),) = cursor.fetchall()
            early_id = api.post("Early, with a higher transaction id").json()["id"]
            posted_at = database.one("SELECT clock_timestamp()")
            listener.wait_for(lambda: _was_read_since(database, posted_at), "a look while the late one runs")
            assert listener.ids("issue.created") == []
            late.commit()
            listener.wait_for(lambda: len(listener.ids("issue.created")) == 2, "both")
        assert listener.ids("issue.created") == [late_id, early_id]
    finally:
        late.close()


def test_another_process_resumes_where_one_was_told_to_stop(new_api: ApiFactory) -> None:
    one, other = new_api({}), new_api({})
    with Listener(one) as first:
        one.post("Before")
        first.wait_for(lambda: len(first.ids("issue.created")) == 1, "an issue")
        one.process.stop(20)
        assert first.ended.wait(5), "a stream outlived its process"
    missed = other.post("In between").json()["id"]
    with Listener(other, first.last_id) as second:
        second.wait_for(lambda: missed in second.ids("issue.created"), "what was missed")


@pytest.mark.parametrize("last_id", ["nonsense", "1-1", "9223372036854775807-1", "-", "1-99999999999999999999"])
def test_what_cannot_be_resumed_begins_with_sync(last_id: str, api: Api, database: Database) -> None:
    database.query("TRUNCATE event")
    with Listener(api, last_id) as listener:
        listener.wait_for(lambda: [event.kind for event in listener.received] == ["sync"], "sync")


def test_fifty_listeners_hear_the_same_over_one_connection(api: Api, database: Database) -> None:
    with ExitStack() as stack:
        listeners = [stack.enter_context(Listener(api)) for _ in range(50)]
        created = [api.post(f"Issue {number}").json()["id"] for number in range(10)]
        for listener in listeners:
            listener.wait_for(lambda received=listener: len(received.ids("issue.created")) == 10, "ten issues")
        connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'issuetracker-events'"
        assert database.one(connections) == 1
    assert all(listener.ids("issue.created") == created for listener in listeners)
    wait_until(lambda: database.one(connections) == 0, 30, "the connection's end when nobody listens")


def test_a_slow_listener_holds_nobody_up_and_misses_nothing(api: Api, database: Database) -> None:
    with socket.create_connection((api.client.base_url.host, api.client.base_url.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        slow.settimeout(60)
        received = slow.recv(100)
        with Listener(api) as quick:
            for _ in range(4):
                add_events(database, MANY)
            quick.wait_for(lambda: len(quick.ids("issue.changed")) == 4 * MANY, "all, beside a slow one")
        expected = [event.id for event in quick.received if event.kind == "issue.changed"]
        while f"id: {expected[-1]}\n".encode() not in received[-65536:]:
            received += slow.recv(65536)
    # The response is chunked; a frame is never cut by a chunk's end.
    ids = re.findall(rb"event: issue\.changed\ndata: [^\n]*\nid: ([0-9-]+)\n", received)
    assert [one.decode() for one in ids] == expected


def test_the_stream_goes_on_after_an_outage_of_the_database(new_api: ApiFactory, servers: Servers) -> None:
    api = new_api({})
    with Listener(api) as listener:
        servers.postgres.stop()
        servers.postgres.start()
        wait_until(lambda: api.post("After the outage").status_code == 201, 60, "the database")
        listener.wait_for(lambda: len(listener.ids("issue.created")) == 1, "what came after it")


def _queues(listener: Listener) -> list[dict[str, Any]]:
    return listener.statuses[-1]["queues"] if listener.statuses else []


def test_status_tells_what_the_queues_hold(api: Api, database: Database) -> None:
    api.post("It waits")
    database.add_job("app.tasks.issues.enrich_issue")
    database.query("UPDATE job SET state = 'dead', lease_until = NULL WHERE issue_id IS NULL")
    with Listener(api) as listener:
        answer = api.client.get("/api/v1/queues").json()
        listener.wait_for(lambda: [state["dead"] for state in _queues(listener)] == [1, 0], "a status")
    assert [state["waiting"] for state in _queues(listener)] == [1, 0]
    assert listener.statuses[-1].keys() == answer.keys()


def test_old_events_are_forgotten_but_for_where_one_may_resume(new_api: ApiFactory, database: Database) -> None:
    database.query("TRUNCATE event")
    add_events(database, 20)
    add_events(database, 20)
    database.query("UPDATE event SET created_at = now() - interval '2 hours'")
    new = new_api({}).post("New").json()["id"]
    wait_until(lambda: database.one("SELECT count(*) FROM event WHERE kind = 'issue.changed'") == 1, 30, "pruning")
    assert database.one("SELECT count(*) FROM event WHERE issue_id = %s AND kind = 'issue.created'", new) == 1


def test_the_stream_asks_for_the_scope_to_read(new_api: ApiFactory, database: Database) -> None:
    api = new_api(CLOSED)
    del database
    tokens = Tokens(api)
    writer, reader = (
        tokens.make(scope.replace(":", "-"), scope)["token"] for scope in ("issues:write", "issues:read")
    )
    assert api.client.get("/api/v1/events").status_code == 401
    assert api.client.get("/api/v1/events", headers=bearer(writer)).status_code == 403
    with Listener(api, headers=bearer(reader)) as listener:
        assert listener.received[0].kind == "sync"


def test_a_stream_does_not_count_as_a_slow_request(api: Api) -> None:
    with Listener(api):
        pass

    def counted() -> bool:
        return (
            'issuetracker_http_requests_total{method="GET",route="/api/v1/events"'
            in api.client.get("/metrics").text
        )

    wait_until(counted, 30, "the stream's end")
    assert (
        'issuetracker_http_request_seconds_count{method="GET",route="/api/v1/events"}'
        not in api.client.get("/metrics").text
    )


def test_what_one_transaction_announced_is_forgotten_in_parts(database: Database, servers: Servers) -> None:
    database.query("TRUNCATE event")
    database.query(
        "INSERT INTO event (kind, created_at) SELECT 'issue.changed', now() - interval '2 hours' "
        "FROM generate_series(1, 30)"
    )

    async def forget() -> list[int]:
        connection = await asyncpg.connect(servers.database_url)
        try:
            return [await repository.forget(connection, 3600.0, 10) for _ in range(5)]
        finally:
            await connection.close()

    assert sum(asyncio.run(forget())) == 29, "all but the last old one"
