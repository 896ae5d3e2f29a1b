"""Addresses, credentials and logs of Flower."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from devstack.network import free_port, wait_until
from tests.support.forked import ForkedProcess
from tests.support.processes import WORKER
from tests.support.servers import Log, Servers

CREDENTIALS = {"FLOWER_BASIC_AUTH": "admin:a-password-of-the-test"}
AUTH = ("admin", "a-password-of-the-test")


@contextmanager
def flower(servers: Servers, env: dict[str, str], *options: str) -> Iterator[str]:
    port, log = free_port(), Log()
    command = [sys.executable, "-m", "celery", "-A", "app.celery_app", "flower", f"--port={port}", *options]
    process = ForkedProcess("flower", command, log, cwd=WORKER, env={**servers.env, **env})
    url = f"http://127.0.0.1:{port}"

    def is_healthy() -> bool:
        assert process.exit_code is None, str(log)
        try:
            return httpx.get(f"{url}/healthcheck").text == "OK"
        except httpx.TransportError:
            return False

    try:
        wait_until(is_healthy, 60, f"Flower\n{log}")
        yield url
    finally:
        process.stop(30)


NO_CREDENTIALS = "needs credentials. Set FLOWER_BASIC_AUTH"


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
    command = [sys.executable, "-m", "celery", "-A", "app.celery_app", "flower", f"--port={free_port()}", *options]

    assert ForkedProcess("flower", command, log, cwd=WORKER, env={**servers.env, **env}).wait(60) == 1

    (line,) = log.lines
    assert message in line


def test_flower_on_public_address_requires_login_and_is_read_only(servers: Servers) -> None:
    with flower(servers, {**CREDENTIALS, "FLOWER_ADDRESS": "0.0.0.0"}) as url:
        assert [httpx.get(f"{url}{path}").status_code for path in ("/", "/tasks", "/api/tasks")] == [401] * 3
        assert httpx.get(f"{url}/", auth=("admin", "wrong")).status_code == 401
        assert httpx.get(f"{url}/workers", auth=AUTH).status_code == 200
        assert httpx.post(f"{url}/api/worker/shutdown/any", auth=AUTH).status_code == 403


def test_flower_with_read_only_off_allows_changes(servers: Servers) -> None:
    with flower(servers, {**CREDENTIALS, "FLOWER_ADDRESS": "0.0.0.0", "FLOWER_READ_ONLY": "false"}) as url:
        assert httpx.post(f"{url}/api/worker/shutdown/any", auth=AUTH).status_code == 404


def test_flower_with_json_log_format_logs_objects(servers: Servers) -> None:
    log = Log()
    command = [sys.executable, "-m", "celery", "-A", "app.celery_app", "flower", f"--port={free_port()}"]
    process = ForkedProcess("flower", command, log, cwd=WORKER, env={**servers.env, "LOG_FORMAT": "json"})
    try:
        wait_until(lambda: log.has("Visit me at"), 60, f"Flower\n{log}")
    finally:
        process.stop(30)

    lines = [json.loads(line.partition(" | ")[2]) for line in log.lines]
    assert {line["service"] for line in lines} == {"flower"}
    assert {"event", "logger", "level", "timestamp"} <= lines[0].keys()
