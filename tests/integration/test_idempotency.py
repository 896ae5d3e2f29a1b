"""Repeated POSTs with the same Idempotency-Key have one effect and one response."""

import socket
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import psycopg2
import pytest

from tests.conftest import ApiFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.access import CLOSED, Tokens, bearer
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.servers import Servers
from tests.support.waiting import wait_until

ISSUES = "/api/v1/issues"


def post(api: Api, key: str, body: Any = None, path: str = ISSUES) -> httpx.Response:
    return api.client.post(
        path, json={"title": "Posted once"} if body is None else body, headers={"idempotency-key": key}
    )


def count_issues(database: Database) -> int:
    count: int = database.one("SELECT count(*) FROM issue")
    return count


def test_repeated_post_returns_stored_response_without_effect(api: Api, database: Database) -> None:
    first = post(api, "k1")
    # Wait before the change, because a change delays a run that is not yet published.
    wait_until(lambda: database.states().get("queued") == 1, "the dispatcher to publish the job after the commit")
    api.client.patch(first.headers["location"], json={"title": "Changed since"})
    second = post(api, "k1")

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    for header in ("location", "content-type"):
        assert second.headers[header] == first.headers[header]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert (count_issues(database), database.one("SELECT count(*) FROM job")) == (1, 1)
    assert post(api, "k2").json()["id"] != first.json()["id"]


def test_post_endpoints_accept_idempotency_key(api: Api, database: Database) -> None:
    issue_id = api.post().json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, "the job to be queued")
    database.query("UPDATE job SET state = 'dead', lease_until = NULL")
    job_id = database.one("SELECT id FROM job")

    for path, body in (
        (f"/api/v1/issues/{issue_id}/enrichments", {}),
        ("/api/v1/models/train", {}),
        (f"/api/v1/dead-letters/{job_id}/discard", {"reason": "a test"}),
    ):
        first, second = (post(api, "k", body, path) for _ in range(2))
        assert first.is_success, first.text
        assert second.content == first.content
        assert second.headers["idempotency-replayed"] == "true"
        database.query("DELETE FROM idempotent_answer")


def test_idempotency_key_with_other_request_is_rejected_with_422(api: Api, database: Database) -> None:
    post(api, "k1")

    for response in (post(api, "k1", {"title": "Another"}), post(api, "k1", {}, "/api/v1/models/train")):
        problem = assert_problem(response, 422)
        assert isinstance(problem["errors"], list)
        assert problem["errors"][0]["pointer"] == "header.Idempotency-Key"
        assert problem["errors"][0]["rule"] == "idempotency_key_reused"
    assert count_issues(database) == 1


def test_idempotency_key_of_other_token_is_independent(new_api: ApiFactory, database: Database) -> None:
    api = new_api(CLOSED)
    one, other = (Tokens(api).make(name, "issues:write")["token"] for name in ("one", "other"))

    responses = [
        api.client.post(ISSUES, json={"title": "t"}, headers={"Idempotency-Key": "k1", **bearer(token)})
        for token in (one, one, other)
    ]

    assert [response.status_code for response in responses] == [201] * 3
    assert count_issues(database) == 2


def test_idempotency_key_after_error_can_be_used_again(api: Api, database: Database) -> None:
    assert_problem(post(api, "k1", {"title": ""}), 422)
    assert_problem(post(api, "k2", {}, "/api/v1/models/rollback"), 409)

    assert post(api, "k1", {"title": "Corrected"}).status_code == 201
    assert database.one("SELECT count(*) FROM idempotent_answer") == 1


@pytest.mark.parametrize("key", ["", "a b", "k" * 256])
def test_invalid_idempotency_key_is_rejected_with_422(key: str, api: Api, database: Database) -> None:
    problem = assert_problem(post(api, key), 422)

    assert isinstance(problem["errors"], list)
    assert problem["errors"][0]["rule"] == "idempotency_key"
    assert count_issues(database) == 0


def test_idempotency_key_after_one_day_is_deleted(api: Api, database: Database) -> None:
    for number in range(4):
        post(api, f"k{number}")
    database.query("UPDATE idempotent_answer SET created_at = now() - interval '24 hours'")

    assert post(api, "k0", {"title": "Another"}).status_code == 201

    assert count_issues(database) == 5
    assert database.one("SELECT count(*) FROM idempotent_answer") == 1


def test_concurrent_posts_with_same_key_have_one_effect(api: Api, database: Database) -> None:
    with ThreadPoolExecutor(8) as clients:
        responses = list(clients.map(lambda _: post(api, "k1"), range(24)))

    status_counts = Counter(response.status_code for response in responses)
    assert status_counts.keys() <= {201, 409}
    assert len({response.content for response in responses if response.status_code == 201}) == 1
    assert (count_issues(database), database.one("SELECT count(*) FROM job")) == (1, 1)


class BlockedPost:
    """A POST that has created its issue and waits for a lock before it stores its response and commits."""

    def __init__(self, api: Api, servers: Servers, database: Database) -> None:
        self._lock = psycopg2.connect(servers.database_url)
        with self._lock.cursor() as cursor:
            cursor.execute("LOCK TABLE idempotent_answer IN EXCLUSIVE MODE")
        self._client = ThreadPoolExecutor(1)
        self.response: Future[httpx.Response] = self._client.submit(post, api, "k1")
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'idempotent_answer'::regclass AND NOT granted"
        wait_until(lambda: database.one(waiting) == 1, "the POST to wait")

    def release(self) -> None:
        self._lock.close()
        self._client.shutdown(wait=True)


def test_idempotency_key_in_use_returns_409_until_request_ends(
    api: Api, database: Database, servers: Servers
) -> None:
    blocked = BlockedPost(api, servers, database)

    second = post(api, "k1")
    assert_problem(second, 409)
    assert second.headers["retry-after"] == "1"
    assert count_issues(database) == 0, "the issue must not be visible before the commit"
    blocked.release()

    assert blocked.response.result().status_code == 201
    assert post(api, "k1").content == blocked.response.result().content
    assert count_issues(database) == 1


def test_post_when_api_is_killed_before_commit_succeeds_on_retry(
    new_api: ApiFactory, database: Database, servers: Servers
) -> None:
    api = new_api({})
    blocked = BlockedPost(api, servers, database)

    api.process.kill_group()
    blocked.release()

    assert isinstance(blocked.response.exception(), httpx.TransportError)
    repeated = post(new_api({}), "k1")
    assert repeated.status_code == 201
    assert "idempotency-replayed" not in repeated.headers
    assert (count_issues(database), database.one("SELECT count(*) FROM job")) == (1, 1)


def test_slow_clients_do_not_delay_other_posts(api: Api, database: Database) -> None:
    """Use more clients than the API has database connections."""
    head = "POST /api/v1/issues HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n"
    address = (api.client.base_url.host, api.client.base_url.port or 80)
    with ExitStack() as slow:
        for number in range(30):
            connection = slow.enter_context(socket.create_connection(address))
            connection.sendall(f"{head}Idempotency-Key: slow-{number}\r\n\r\n{{".encode())
        assert [post(api, f"quick-{number}").status_code for number in range(3)] == [201] * 3
    assert count_issues(database) == 3
