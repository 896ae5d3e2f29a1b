"""POSTs that are repeated with their Idempotency-Key: one effect, one answer."""

import socket
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import psycopg2
import pytest

from devstack.network import wait_until
from tests.conftest import ApiFactory
from tests.integration.test_issues_api import assert_problem
from tests.support.access import CLOSED, Tokens, bearer
from tests.support.database import Database
from tests.support.processes import Api
from tests.support.servers import Servers

ISSUES = "/api/v1/issues"


def post(api: Api, key: str, body: Any = None, path: str = ISSUES) -> httpx.Response:
    return api.client.post(
        path, json={"title": "Posted once"} if body is None else body, headers={"idempotency-key": key}
    )


def issues(database: Database) -> int:
    count: int = database.one("SELECT count(*) FROM issue")
    return count


def test_a_repetition_gets_the_answer_and_has_no_effect(api: Api, database: Database) -> None:
    first = post(api, "k1")
    # Before the change, which puts off a run that nobody has published yet.
    wait_until(lambda: database.states().get("queued") == 1, 30, "the dispatcher, woken after the commit")
    api.client.patch(first.headers["location"], json={"title": "Changed since"})
    second = post(api, "k1")

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    for header in ("location", "content-type"):
        assert second.headers[header] == first.headers[header]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert (issues(database), database.one("SELECT count(*) FROM job")) == (1, 1)
    assert post(api, "k2").json()["id"] != first.json()["id"]


def test_every_post_takes_a_key(api: Api, database: Database) -> None:
    issue_id = api.post().json()["id"]
    wait_until(lambda: database.states() == {"queued": 1}, 30, "the job to be queued")
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


def test_a_key_belongs_to_one_request(api: Api, database: Database) -> None:
    post(api, "k1")

    for answer in (post(api, "k1", {"title": "Another"}), post(api, "k1", {}, "/api/v1/models/train")):
        problem = assert_problem(answer, 422)
        assert isinstance(problem["errors"], list)
        assert problem["errors"][0]["pointer"] == "header.Idempotency-Key"
        assert problem["errors"][0]["rule"] == "idempotency_key_reused"
    assert issues(database) == 1


def test_another_callers_key_is_another_key(new_api: ApiFactory, database: Database) -> None:
    api = new_api(CLOSED)
    one, other = (Tokens(api).make(name, "issues:write")["token"] for name in ("one", "other"))

    answers = [
        api.client.post(ISSUES, json={"title": "t"}, headers={"Idempotency-Key": "k1", **bearer(token)})
        for token in (one, one, other)
    ]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert issues(database) == 2


def test_an_error_is_no_answer_to_keep(api: Api, database: Database) -> None:
    assert_problem(post(api, "k1", {"title": ""}), 422)
    assert_problem(post(api, "k2", {}, "/api/v1/models/rollback"), 409)

    assert post(api, "k1", {"title": "Mended"}).status_code == 201
    assert database.one("SELECT count(*) FROM idempotent_answer") == 1


@pytest.mark.parametrize("key", ["", "a b", "k" * 256])
def test_a_bad_key_is_named(key: str, api: Api, database: Database) -> None:
    problem = assert_problem(post(api, key), 422)

    assert isinstance(problem["errors"], list)
    assert problem["errors"][0]["rule"] == "idempotency_key"
    assert issues(database) == 0


def test_a_key_is_forgotten_after_a_day_and_its_answer_deleted(api: Api, database: Database) -> None:
    for number in range(4):
        post(api, f"k{number}")
    database.query("UPDATE idempotent_answer SET created_at = now() - interval '24 hours'")

    assert post(api, "k0", {"title": "Another"}).status_code == 201

    assert issues(database) == 5
    assert database.one("SELECT count(*) FROM idempotent_answer") == 1


def test_a_double_click_has_one_effect(api: Api, database: Database) -> None:
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: post(api, "k1"), range(24)))

    told = Counter(answer.status_code for answer in answers)
    assert told.keys() <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert (issues(database), database.one("SELECT count(*) FROM job")) == (1, 1)


class Blocked:
    """A POST that has created its issue and waits for a lock before it can store its answer and commit."""

    def __init__(self, api: Api, servers: Servers, database: Database) -> None:
        self._lock = psycopg2.connect(servers.database_url)
        with self._lock.cursor() as cursor:
            cursor.execute("LOCK TABLE idempotent_answer IN EXCLUSIVE MODE")
        self._client = ThreadPoolExecutor(1)
        self.answer: Future[httpx.Response] = self._client.submit(post, api, "k1")
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'idempotent_answer'::regclass AND NOT granted"
        wait_until(lambda: database.one(waiting) == 1, 30, "the POST to wait")

    def release(self) -> None:
        self._lock.close()
        self._client.shutdown(wait=True)


def test_a_key_in_use_is_refused_until_its_request_is_over(api: Api, database: Database, servers: Servers) -> None:
    blocked = Blocked(api, servers, database)

    second = post(api, "k1")
    assert_problem(second, 409)
    assert second.headers["retry-after"] == "1"
    assert issues(database) == 0, "nothing is there before its answer is"
    blocked.release()

    assert blocked.answer.result().status_code == 201
    assert post(api, "k1").content == blocked.answer.result().content
    assert issues(database) == 1


def test_an_api_killed_before_the_commit_leaves_nothing_and_the_repetition_does_it(
    new_api: ApiFactory, database: Database, servers: Servers
) -> None:
    api = new_api({})
    blocked = Blocked(api, servers, database)

    api.process.kill_group()
    blocked.release()

    assert isinstance(blocked.answer.exception(), httpx.TransportError)
    repeated = post(new_api({}), "k1")
    assert repeated.status_code == 201
    assert "idempotency-replayed" not in repeated.headers
    assert (issues(database), database.one("SELECT count(*) FROM job")) == (1, 1)


def test_clients_that_are_slow_to_send_hold_nothing_up(api: Api, database: Database) -> None:
    """More than there are connections to the database."""
    head = "POST /api/v1/issues HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n"
    where = (api.client.base_url.host, api.client.base_url.port or 80)
    with ExitStack() as slow:
        for number in range(30):
            connection = slow.enter_context(socket.create_connection(where))
            connection.sendall(f"{head}Idempotency-Key: slow-{number}\r\n\r\n{{".encode())
        assert [post(api, f"quick-{number}").status_code for number in range(3)] == [201] * 3
    assert issues(database) == 3
