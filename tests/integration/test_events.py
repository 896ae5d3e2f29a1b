"""The event stream delivers every change in order, despite disconnects, restarts and slow listeners."""

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
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.access import CLOSED, Tokens, bearer
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.stream import Listener
from tests.support.waiting import DEADLINE_S, wait_until

MANY = 1500
"""More events than one batch, and with their padding more bytes than the socket buffers."""


def add_events(database: Database, count: int, kind: str = "issue.changed") -> None:
    """Insert events as the triggers do, many at a time. The state contains the event number."""
    database.query(
        "INSERT INTO event (kind, issue_id, state) "
        "SELECT %s, gen_random_uuid(), lpad(number::text, 400, '0') FROM generate_series(1, %s) number",
        kind,
        count,
    )


def test_stream_reports_issue_from_creation_to_deletion(api: Api, new_worker: WorkerFactory) -> None:
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


def test_stream_after_disconnect_resumes_without_gap(api: Api) -> None:
    with Listener(api) as first:
        before = [api.post(f"Issue {number}").json()["id"] for number in range(5)]
        first.wait_for(lambda: len(first.ids("issue.created")) == 5, "five issues")
    missed = [api.post(f"Issue {number} in between").json()["id"] for number in range(5)]
    with Listener(api, first.last_id) as second:
        after = [api.post(f"Issue {number} afterwards").json()["id"] for number in range(5)]
        second.wait_for(lambda: len(second.ids("issue.created")) >= 10, "the missed and the following issues")

    assert first.ids("issue.created") == before
    assert second.ids("issue.created") == [*missed, *after]
    assert all(event.kind != "sync" for event in second.received)


def _was_polled_since(database: Database, moment: datetime) -> bool:
    since = "application_name = 'issuetracker-events' AND state = 'idle' AND query_start > %s"
    return bool(database.query(f"SELECT pid FROM pg_stat_activity WHERE {since}", moment))


def test_stream_with_late_commit_includes_its_events_in_order(
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
            listener.wait_for(
                lambda: _was_polled_since(database, posted_at), "the stream to poll during the late transaction"
            )
            assert listener.ids("issue.created") == []
            late.commit()
            listener.wait_for(lambda: len(listener.ids("issue.created")) == 2, "both issues")
        assert listener.ids("issue.created") == [late_id, early_id]
    finally:
        late.close()


def test_stream_behind_open_transaction_repeats_sync(api: Api, servers: Servers) -> None:
    """No event can be sent during a transaction that has written, but the page must show the new state."""
    idle = psycopg2.connect(servers.database_url)
    try:
        with Listener(api) as listener:
            idle.cursor().execute("SELECT pg_current_xact_id()")
            issue_ids = []
            for number in range(1, 3):
                issue_ids.append(api.post(f"Created behind the transaction {number}").json()["id"])
                listener.wait_for(lambda: len(listener.received) > len(issue_ids), "sync after further events")
            assert {event.kind for event in listener.received} == {"sync"}
            idle.commit()
            listener.wait_for(lambda: listener.ids("issue.created") == issue_ids, "the delayed events")
        wait_until(lambda: api.log.has("event_stream_delayed"), "the delay in the log")
    finally:
        idle.close()


def test_stream_after_shutdown_resumes_on_other_process(new_api: ApiFactory) -> None:
    one, other = new_api({}), new_api({})
    with Listener(one) as first:
        one.post("Before")
        first.wait_for(lambda: len(first.ids("issue.created")) == 1, "an issue")
        one.process.stop(DEADLINE_S)
        assert first.ended.wait(DEADLINE_S), "the stream was still open after its process had stopped"
    missed = other.post("In between").json()["id"]
    with Listener(other, first.last_id) as second:
        second.wait_for(lambda: missed in second.ids("issue.created"), "the missed issue")


@pytest.mark.parametrize("last_id", ["nonsense", "1-1", "9223372036854775807-1", "-", "1-99999999999999999999"])
def test_stream_with_invalid_last_event_id_begins_with_sync(last_id: str, api: Api, database: Database) -> None:
    database.query("TRUNCATE event")
    with Listener(api, last_id) as listener:
        listener.wait_for(lambda: [event.kind for event in listener.received] == ["sync"], "sync")


def test_stream_with_fifty_listeners_uses_one_connection(api: Api, database: Database) -> None:
    with ExitStack() as stack:
        listeners = [stack.enter_context(Listener(api)) for _ in range(50)]
        created = [api.post(f"Issue {number}").json()["id"] for number in range(10)]
        for listener in listeners:
            listener.wait_for(lambda received=listener: len(received.ids("issue.created")) == 10, "ten issues")
        connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'issuetracker-events'"
        # The connection of an earlier stream may still be closing.
        wait_until(lambda: database.one(connections) == 1, "the only connection")
    assert all(listener.ids("issue.created") == created for listener in listeners)
    wait_until(lambda: database.one(connections) == 0, "the connection to close without listeners")


def test_slow_listener_receives_all_events_and_delays_no_other(api: Api, database: Database) -> None:
    with socket.create_connection((api.client.base_url.host, api.client.base_url.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        slow.settimeout(60)
        received = slow.recv(100)
        with Listener(api) as fast_listener:
            for _ in range(4):
                add_events(database, MANY)
            fast_listener.wait_for(lambda: len(fast_listener.ids("issue.changed")) == 4 * MANY, "all events")
        expected = [event.id for event in fast_listener.received if event.kind == "issue.changed"]
        while f"id: {expected[-1]}\n".encode() not in received[-65536:]:
            received += slow.recv(65536)
    # The response is chunked. A chunk never splits a frame.
    ids = re.findall(rb"event: issue\.changed\ndata: [^\n]*\nid: ([0-9-]+)\n", received)
    assert [one.decode() for one in ids] == expected


def test_stream_after_database_outage_continues(new_api: ApiFactory, servers: Servers) -> None:
    api = new_api({})
    with Listener(api) as listener:
        servers.postgres.stop()
        servers.postgres.start()
        wait_until(lambda: api.post("After the outage").status_code == 201, "the API to use the database again")
        listener.wait_for(lambda: len(listener.ids("issue.created")) == 1, "the issue posted after the outage")

    assert listener.ids("issue.created") == [api.client.get("/api/v1/issues").json()["items"][0]["id"]]


def _queues(listener: Listener) -> list[dict[str, Any]]:
    return listener.statuses[-1]["queues"] if listener.statuses else []


def test_stream_status_contains_queue_counts(api: Api, database: Database) -> None:
    api.post("A queued issue")
    database.add_job("app.tasks.issues.enrich_issue")
    database.query("UPDATE job SET state = 'dead', lease_until = NULL WHERE issue_id IS NULL")
    with Listener(api) as listener:
        response = api.client.get("/api/v1/queues").json()
        listener.wait_for(lambda: [state["dead"] for state in _queues(listener)] == [1, 0], "a status")
    assert [state["waiting"] for state in _queues(listener)] == [1, 0]
    assert listener.statuses[-1].keys() == response.keys()


def test_old_events_are_pruned_except_the_last(new_api: ApiFactory, database: Database) -> None:
    database.query("TRUNCATE event")
    add_events(database, 20)
    add_events(database, 20)
    database.query("UPDATE event SET created_at = now() - interval '2 hours'")
    new = new_api({}).post("New").json()["id"]
    wait_until(lambda: database.one("SELECT count(*) FROM event WHERE kind = 'issue.changed'") == 1, "pruning")
    assert database.one("SELECT count(*) FROM event WHERE issue_id = %s AND kind = 'issue.created'", new) == 1


def test_stream_requires_read_scope(new_api: ApiFactory, database: Database) -> None:
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


def test_stream_is_not_in_request_duration_metric(api: Api) -> None:
    with Listener(api):
        pass

    def stream_is_counted() -> bool:
        return (
            'issuetracker_http_requests_total{method="GET",route="/api/v1/events"'
            in api.client.get("/metrics").text
        )

    wait_until(stream_is_counted, "the request to be counted")
    assert (
        'issuetracker_http_request_seconds_count{method="GET",route="/api/v1/events"}'
        not in api.client.get("/metrics").text
    )


def test_old_events_of_one_transaction_are_pruned_in_batches(database: Database, servers: Servers) -> None:
    database.query("TRUNCATE event")
    database.query(
        "INSERT INTO event (kind, created_at) SELECT 'issue.changed', now() - interval '2 hours' "
        "FROM generate_series(1, 30)"
    )

    async def delete_old_events() -> list[int]:
        connection = await asyncpg.connect(servers.database_url)
        try:
            return [await repository.delete_old(connection, 3600.0, 10) for _ in range(5)]
        finally:
            await connection.close()

    assert max(asyncio.run(delete_old_events())) < 10, "no batch may delete more than its limit"
    # Each API deletes old events once a minute, also during this test.
    left = "SELECT count(*) FROM event"
    wait_until(lambda: database.one(left) <= 1, "all old events except the last to be deleted")
    assert database.one(left) == 1, "the last old event must stay"


def test_events_of_restored_dump_neither_stop_stream_nor_stay(
    api: Api, database: Database, servers: Servers
) -> None:
    """A dump contains transaction ids that the new server has not reached yet."""
    database.query(
        "INSERT INTO event (kind, transaction_id, created_at)"
        " VALUES ('issue.changed', 1::bigint << 40, now() - interval '1 d')"
    )
    with Listener(api) as listener:
        issue_id = api.post("After the restore").json()["id"]
        listener.wait_for(lambda: listener.ids("issue.created") == [issue_id], "the new event")

    before = database.one("SELECT count(*) FROM event WHERE transaction_id < 1::bigint << 40")

    async def prune() -> None:
        connection = await asyncpg.connect(servers.database_url)
        try:
            await repository.delete_old(connection, 3600.0, 10)
            await repository.delete_of_other_server(connection, 10)
        finally:
            await connection.close()

    asyncio.run(prune())
    # Each API prunes once a minute, also during this test.
    restored = "SELECT count(*) FROM event WHERE transaction_id = 1::bigint << 40"
    wait_until(lambda: database.one(restored) == 0, "the restored event to be deleted")
    assert database.one("SELECT count(*) FROM event") >= before > 0, "only the restored event may be deleted"
