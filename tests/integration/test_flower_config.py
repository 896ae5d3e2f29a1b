"""Addresses, credentials and logs of Flower."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.flower import flower, start_flower
from tests.support.ports import free_port
from tests.support.servers import Log, Servers
from tests.support.waiting import DEADLINE_S, wait_until

CREDENTIALS = {"FLOWER_BASIC_AUTH": "admin:a-password-of-the-test"}
AUTH = ("admin", "a-password-of-the-test")

NO_CREDENTIALS = "needs credentials. Set FLOWER_BASIC_AUTH"


@pytest.fixture(scope="module")
def local_flower(servers: Servers) -> Iterator[str]:
    """Yield the URL of a Flower without credentials."""
    with flower({**servers.env, "FLOWER_UNAUTHENTICATED_API": "true"}) as url:
        yield url


@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        ({"FLOWER_ADDRESS": "0.0.0.0"}, [], NO_CREDENTIALS),
        ({}, ["--address=0.0.0.0"], NO_CREDENTIALS),
        ({}, ["--address=192.0.2.1"], NO_CREDENTIALS),
        ({"ISSUETRACKER_URL": "javascript:x"}, [], "ISSUETRACKER_URL: javascript:x is not valid. Use http(s)://"),
    ],
)
def test_flower_with_invalid_settings_does_not_start(
    env: dict[str, str], options: list[str], message: str, servers: Servers
) -> None:
    log = Log()

    assert start_flower({**servers.env, **env}, free_port(), log, *options).wait(DEADLINE_S) == 2

    (line,) = log.lines
    assert message in line


def test_flower_on_public_address_requires_login_and_is_read_only(servers: Servers) -> None:
    with flower({**servers.env, **CREDENTIALS, "FLOWER_ADDRESS": "0.0.0.0"}) as url:
        assert [httpx.get(f"{url}{path}", timeout=60).status_code for path in ("/", "/tasks", "/api/tasks")] == [
            401
        ] * 3
        assert httpx.get(f"{url}/", auth=("admin", "wrong"), timeout=60).status_code == 401
        assert httpx.get(f"{url}/workers", auth=AUTH, timeout=60).status_code == 200
        assert httpx.post(f"{url}/api/worker/shutdown/any", auth=AUTH, timeout=60).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"), [("rebound.example:5555", 403), ("localhost:5555", 200), ("[::1]:5555", 200)]
)
def test_flower_without_credentials_serves_only_hosts_of_this_machine(
    host: str, status: int, local_flower: str
) -> None:
    for path in ("/workers", "/static/css/flower.css", "/metrics"):
        assert httpx.get(f"{local_flower}{path}", headers={"Host": host}, timeout=60).status_code == status


def test_flower_without_credentials_changes_nothing(local_flower: str) -> None:
    assert httpx.post(f"{local_flower}/api/worker/shutdown/any", timeout=60).status_code == 403


def test_flower_with_credentials_accepts_any_host(servers: Servers) -> None:
    with flower({**servers.env, **CREDENTIALS}) as url:
        host = {"Host": "flower.example"}
        assert httpx.get(f"{url}/workers", auth=AUTH, headers=host, timeout=60).status_code == 200


def test_flower_with_json_log_format_logs_objects(servers: Servers) -> None:
    log = Log()
    process = start_flower({**servers.env, "LOG_FORMAT": "json"}, free_port(), log)
    try:
        wait_until(lambda: log.has("Visit me at"), lambda: f"Flower\n{log}")
    finally:
        process.stop(30)

    lines = [json.loads(line.partition(" | ")[2]) for line in log.lines]
    assert {line["service"] for line in lines} == {"flower"}
    assert {"event", "logger", "level", "timestamp"} <= lines[0].keys()
