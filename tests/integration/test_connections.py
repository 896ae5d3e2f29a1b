"""Slow, endless and unread requests, whose connections the API bounds. Other clients are served meanwhile."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.conftest import STOP_TIMEOUT_S
from tests.integration.test_issues_api import assert_problem
from tests.support.database import Database
from tests.support.processes import Api, start_api
from tests.support.raw_http import SMALL_BUFFER, RawConnection
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("connections")

CONNECTIONS_MAX = 40
FAST = {
    "DISPATCH_POLL_SECONDS": "3600",
    "HEAD_SECONDS": "2",
    "BODY_WINDOW_SECONDS": "2",
    "UNREAD_SECONDS": "2",
    "CONNECTIONS_MAX": str(CONNECTIONS_MAX),
    "LOG_FORMAT": "json",
}
HEAD = b"POST /api/v1/issues HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def bounded_api(servers: Servers) -> Iterator[Api]:
    """Yield an API with short deadlines and few connections."""
    api = start_api({**servers.env, **FAST})
    yield api
    api.client.close()
    api.process.stop(STOP_TIMEOUT_S)


def test_head_that_arrives_slowly_is_answered_with_408(bounded_api: Api) -> None:
    with RawConnection(bounded_api) as connection:
        assert connection.send(b"GET /api/v1/issues HTTP/1.1\r\nX-Slow: ")
        while connection.send(b"x"):
            time.sleep(0.2)
    with RawConnection(bounded_api) as connection:
        connection.send(HEAD)
        problem = connection.read_problem()

    assert (problem["status"], problem["detail"]) == (408, "The head of the request did not arrive within 2 s.")


def test_connection_that_sends_nothing_is_closed(bounded_api: Api) -> None:
    with RawConnection(bounded_api) as connection:
        assert connection.read_all() == b""
    with RawConnection(bounded_api) as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while connection.send(b"\r\n"):  # ignored before a request, but it keeps the connection busy
            time.sleep(0.2)


def test_head_of_40_megabytes_is_refused_while_it_arrives(bounded_api: Api) -> None:
    with RawConnection(bounded_api) as connection:
        connection.send(b"GET / HTTP/1.1\r\nX-Long: ")
        sent = 0
        while connection.send(b"x" * 65536) and sent < 40_000_000:
            sent += 65536

    assert sent < 40_000_000


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["incomplete", "complete"])
def test_long_head_is_answered_with_431(end: bytes, bounded_api: Api) -> None:
    with RawConnection(bounded_api) as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nConnection: close\r\nX-Long: " + b"x" * 32_768 + end)
        problem = connection.read_problem()

    assert (problem["status"], problem["detail"]) == (
        431,
        "The head of the request has more than 32768 bytes. Send a smaller one.",
    )


def test_half_of_a_body_is_answered_with_408(bounded_api: Api, database: Database) -> None:
    with RawConnection(bounded_api) as connection:
        connection.send(HEAD + b"Content-Length: 1000000\r\n\r\n" + b" " * 500_000)
        problem = connection.read_problem()

    assert problem["status"] == 408
    assert problem["detail"] == "The body arrived more slowly than 1024 bytes per second."
    assert database.one("SELECT count(*) FROM issue") == 0


def test_body_at_sufficient_rate_is_stored(bounded_api: Api, database: Database) -> None:
    # Each piece alone is sufficient for its window, so that a pause of this process does not matter.
    piece = 3000
    body = b'{"title": "Slow"' + b" " * (30 * piece) + b"}"
    with RawConnection(bounded_api) as connection:
        connection.send(HEAD + f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for start in range(0, len(body), piece):
            assert connection.send(body[start : start + piece])
            time.sleep(0.1)
        response = connection.read_all()

    assert response.startswith(b"HTTP/1.1 201 ")
    assert database.one("SELECT count(*) FROM issue WHERE title = 'Slow'") == 1


@pytest.mark.parametrize("start", [b"2\r\n{}\r\n0\r\nX-Trailer: ", b"2;extension="], ids=["trailer", "extension"])
def test_body_with_endless_metadata_is_refused(start: bytes, bounded_api: Api) -> None:
    with RawConnection(bounded_api) as connection:
        connection.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + start)
        sent = 0
        while connection.send(b"x" * 65536) and sent < 40_000_000:
            sent += 65536

    assert sent < 40_000_000


def test_rejected_body_that_continues_is_cut_off(bounded_api: Api) -> None:
    with RawConnection(bounded_api) as connection:
        connection.send(HEAD + b"Content-Length: 100000000\r\n\r\n")  # answered with 413
        while connection.send(b" " * 10_000):
            time.sleep(0.1)
        response = connection.read_all()

    assert response.startswith(b"HTTP/1.1 413 ") or response == b""  # a reset may discard the response
    wait_until(lambda: bounded_api.log.has("connections_dropped", "rejected_body"), "the log line")


def test_responses_that_nobody_reads_are_dropped(bounded_api: Api) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with RawConnection(bounded_api, SMALL_BUFFER) as connection:
        connection.send(request * 200)
        wait_until(lambda: bounded_api.log.has("connections_dropped", "unread_response"), "the log line")

        assert len(connection.read_all()) < 200 * len(bounded_api.client.get("/openapi.json").content)


def test_client_is_served_beside_more_slow_heads_than_connections(bounded_api: Api) -> None:
    with ExitStack() as stack:
        for _ in range(2 * CONNECTIONS_MAX):
            stack.enter_context(RawConnection(bounded_api)).send(b"GET / HTTP/1.1\r\n")

        def is_stored() -> bool:
            try:
                response = httpx.post(
                    f"{bounded_api.client.base_url}/api/v1/issues", json={"title": "t"}, timeout=60
                )
            except httpx.TransportError:  # a refused connection may be reset before its response is read
                return False
            assert response.status_code in {201, 503}
            return response.status_code == 201

        wait_until(is_stored, "a POST to be stored")


def test_client_is_served_beside_as_many_idle_connections(bounded_api: Api) -> None:
    def count_replaced() -> int:
        return sum('"replaced"' in line for line in bounded_api.log.lines)

    before = count_replaced()
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            idle = stack.enter_context(RawConnection(bounded_api))
            idle.send(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

        def is_idle_connection_replaced() -> bool:
            with RawConnection(bounded_api):
                return count_replaced() > before

        wait_until(is_idle_connection_replaced, "an idle connection to be replaced")


def test_connections_above_the_limit_are_answered_with_503(bounded_api: Api) -> None:
    url = f"{bounded_api.client.base_url}/api/v1/events"
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX + 1):
            client = stack.enter_context(httpx.Client(timeout=60))
            response = stack.enter_context(client.stream("GET", url))
            if response.status_code != 200:
                response.read()
                break

        problem = response.json()

    assert response.status_code in {429, 503}
    assert problem["detail"].endswith("Try again in 5 seconds.")
    # The API closes the connections shortly after their clients.
    wait_until(lambda: bounded_api.client.get("/nowhere").status_code != 503, "room for another connection")
    assert_problem(bounded_api.client.get("/nowhere"), 404)
