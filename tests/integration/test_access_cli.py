"""Token commands of the CLI, and programs with wrong settings."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.conftest import STOP_TIMEOUT_S
from tests.support.access import ADMIN, CLOSED
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.forked import run_until_exit
from tests.support.processes import API, Api, start_api
from tests.support.servers import Servers
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.xdist_group("access_cli")


@pytest.fixture(scope="module")
def closed_api(servers: Servers) -> Iterator[Api]:
    api = start_api({**servers.env, "DISPATCH_POLL_SECONDS": "3600", **CLOSED})
    yield api
    api.client.close()
    api.process.stop(STOP_TIMEOUT_S)


def cli(api: Api, *arguments: str, token: str | None = ADMIN) -> subprocess.CompletedProcess[str]:
    env = {"COLUMNS": "60", **({} if token is None else {"ISSUETRACKER_TOKEN": token})}
    return run_cli(str(api.client.base_url), *arguments, env=env)


def test_tokens_cli_creates_lists_and_revokes_token(closed_api: Api, database: Database) -> None:
    scopes = ("--scope", "issues:read", "--scope", "issues:write")
    created = cli(closed_api, "tokens", "create", "ci", *scopes, "--expires-in-days", "30")
    assert created.returncode == 0, created.stderr
    token = created.stdout.strip()
    assert token.startswith("itk_")
    assert "Token ci with the scopes issues:read, issues:write expires at" in created.stderr

    assert cli(closed_api, "dead-letters", "list", token=token).stdout == "0 dead letters\n"
    listed = cli(closed_api, "tokens", "list")
    heading, row = listed.stdout.splitlines()
    assert heading.split()[:3] == ["ID", "NAME", "TOKEN"]
    assert f"{token[:10]}..." in row
    assert token not in listed.stdout

    assert cli(closed_api, "tokens", "revoke", "ci").stdout == "ci is revoked\n"
    rejected = cli(closed_api, "dead-letters", "list", token=token)
    assert rejected.returncode == 4
    assert "Token ci was revoked at" in rejected.stderr
    assert cli(closed_api, "tokens", "list").stdout.splitlines()[1:] == []
    (entry,) = json.loads(cli(closed_api, "tokens", "list", "--all", "--json").stdout)
    assert (entry["name"], entry["state"]) == ("ci", "revoked")
    actions = [entry["action"] for entry in json.loads(cli(closed_api, "audit", "--json").stdout)]
    assert actions == ["token.revoked", "token.created"]
    assert cli(closed_api, "audit", "--action", "token.revoked").stdout.count("admin-token") == 1
    assert database.one("SELECT count(*) FROM api_token") == 1


@pytest.mark.parametrize(
    ("arguments", "token", "code", "message"),
    [
        (("dead-letters", "list"), None, 4, "ISSUETRACKER_TOKEN"),
        (("dead-letters", "list"), "itk_no", 4, "copied all of it"),
        (("--token", "itk_no", "dead-letters", "list"), ADMIN, 4, "copied all of it"),
        (("tokens", "create", "ci"), ADMIN, 2, "--scope"),
        (("tokens", "create", "ci", "--scope", "all"), ADMIN, 2, "all"),
        (("tokens", "create", "a b", "--scope", "admin"), ADMIN, 2, "name:"),
        (("tokens", "revoke", "nobody"), ADMIN, 2, "Token nobody does not exist"),
        (("tokens", "revoke", "01a20614-800e-771f-862f-526a86f415ac"), ADMIN, 2, "does not exist"),
    ],
    # Each process has a different token, and pytest-xdist requires the same ids in all processes.
    ids=["no_token", "short", "option", "no_scope", "unknown_scope", "name", "unknown_name", "unknown_id"],
)
def test_cli_with_invalid_arguments_prints_one_line_and_exit_code(
    arguments: tuple[str, ...], token: str | None, code: int, message: str, closed_api: Api, database: Database
) -> None:
    del database
    run = cli(closed_api, *arguments, token=token)

    assert run.returncode == code, run.stderr
    (line,) = run.stderr.splitlines()
    assert message in line


@pytest.mark.parametrize("arguments", [("--host", "0.0.0.0"), ("--host=::",), ()])
def test_api_without_authentication_on_open_address_does_not_start(
    arguments: tuple[str, ...], servers: Servers
) -> None:
    """Without arguments, the environment variable of uvicorn sets the address."""
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", "0", *arguments]
    environment = {**servers.env, **({} if arguments else {"UVICORN_HOST": "0.0.0.0"})}

    code, lines = run_until_exit(API, command, environment)

    assert code == 2
    (line,) = lines
    assert line.startswith("issuetracker: AUTH=off serves only 127.0.0.1, but uvicorn listens on ")
    assert "AUTH=on" in line


ADDRESSES = [
    address.address
    for addresses in psutil.net_if_addrs().values()
    for address in addresses
    if address.family == socket.AF_INET and not address.address.startswith("127.")
]
SERVED_BY_ANOTHER_PROGRAM = """if True:
    import asyncio, httpx, main, socket, sys, uvicorn

    async def send_request():
        listening = socket.create_server((sys.argv[1], 0))
        server = uvicorn.Server(uvicorn.Config(main.app, log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        url = f"http://{sys.argv[1]}:{listening.getsockname()[1]}/api/v1/issues"
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.get(url, headers={"Host": "localhost"})
        print(answer.status_code, answer.text)
        server.should_exit = True
        await serving

    asyncio.run(send_request())
"""


@pytest.mark.skipif(not ADDRESSES, reason="this machine has only the address 127.0.0.1")
def test_api_served_by_other_program_on_open_address_returns_403(servers: Servers) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SERVED_BY_ANOTHER_PROGRAM, ADDRESSES[0]],
        cwd=API,
        env={**os.environ, **servers.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )

    assert run.stdout.startswith("403 "), run.stderr
    assert f"the request arrived at {ADDRESSES[0]}" in run.stdout
