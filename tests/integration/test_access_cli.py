"""Tokens on the command line, and programs that are started with the wrong settings."""

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
from tests.support.database import Database
from tests.support.processes import API, Api, start_api, tool
from tests.support.servers import Servers


@pytest.fixture(scope="module")
def closed_api(servers: Servers) -> Iterator[Api]:
    running = start_api({**servers.env, "DISPATCH_POLL_SECONDS": "3600", **CLOSED})
    yield running
    running.client.close()
    running.process.stop(STOP_TIMEOUT_S)


def cli(api: Api, *arguments: str, token: str | None = ADMIN) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "ISSUETRACKER_URL": str(api.client.base_url), "COLUMNS": "60"}
    if token is not None:
        env["ISSUETRACKER_TOKEN"] = token
    return subprocess.run([tool("issuetracker"), *arguments], env=env, capture_output=True, text=True, check=False)


def test_a_token_is_made_used_listed_and_revoked(closed_api: Api, database: Database) -> None:
    scopes = ("--scope", "issues:read", "--scope", "issues:write")
    made = cli(closed_api, "tokens", "create", "ci", *scopes, "--expires-in-days", "30")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("itk_")
    assert "ci may issues:read, issues:write until" in made.stderr

    assert cli(closed_api, "dead-letters", "list", token=token).stdout == "0 dead letters\n"
    listed = cli(closed_api, "tokens", "list")
    heading, row = listed.stdout.splitlines()
    assert heading.split()[:3] == ["ID", "NAME", "TOKEN"]
    assert f"{token[:10]}..." in row
    assert token not in listed.stdout

    assert cli(closed_api, "tokens", "revoke", "ci").stdout == "ci is revoked\n"
    denied = cli(closed_api, "dead-letters", "list", token=token)
    assert denied.returncode == 4
    assert "The token ci was revoked at" in denied.stderr
    assert cli(closed_api, "tokens", "list").stdout.splitlines()[1:] == []
    (known,) = json.loads(cli(closed_api, "tokens", "list", "--all", "--json").stdout)
    assert (known["name"], known["state"]) == ("ci", "revoked")
    actions = [entry["action"] for entry in json.loads(cli(closed_api, "audit", "--json").stdout)]
    assert actions == ["token.revoked", "token.created"]
    assert cli(closed_api, "audit", "--action", "token.revoked").stdout.count("admin-token") == 1
    assert database.one("SELECT count(*) FROM api_token") == 1


@pytest.mark.parametrize(
    ("arguments", "token", "code", "words"),
    [
        (("dead-letters", "list"), None, 4, "ISSUETRACKER_TOKEN"),
        (("dead-letters", "list"), "itk_no", 4, "copied whole"),
        (("--token", "itk_no", "dead-letters", "list"), ADMIN, 4, "copied whole"),
        (("tokens", "create", "ci"), ADMIN, 2, "--scope"),
        (("tokens", "create", "ci", "--scope", "all"), ADMIN, 2, "all"),
        (("tokens", "create", "a b", "--scope", "admin"), ADMIN, 2, "#/name"),
        (("tokens", "revoke", "nobody"), ADMIN, 2, "there is no token nobody"),
        (("tokens", "revoke", "01a20614-800e-771f-862f-526a86f415ac"), ADMIN, 2, "There is no token"),
    ],
    # The token is another one in each process, and pytest-xdist wants the same names in all.
    ids=["none", "short", "option", "no scope", "unknown scope", "name", "unknown name", "unknown id"],
)
def test_what_is_wrong_is_one_line_with_its_exit_code(
    arguments: tuple[str, ...], token: str | None, code: int, words: str, closed_api: Api, database: Database
) -> None:
    del database
    run = cli(closed_api, *arguments, token=token)

    assert run.returncode == code, run.stderr
    (line,) = run.stderr.splitlines()
    assert words in line


@pytest.mark.parametrize("arguments", [("--host", "0.0.0.0"), ("--host=::",), ()])
def test_an_open_api_does_not_start(arguments: tuple[str, ...], servers: Servers) -> None:
    """Without an option it is uvicorn's own variable that has it listen to everybody."""
    run = subprocess.run(
        [sys.executable, "-m", "uvicorn", "main:app", "--port", "0", *arguments],
        cwd=API,
        env={**os.environ, **servers.env, **({} if arguments else {"UVICORN_HOST": "0.0.0.0"})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith("issuetracker: AUTH=off answers only on 127.0.0.1, and this listens on ")
    assert "AUTH=on" in line


ADDRESSES = [
    address.address
    for addresses in psutil.net_if_addrs().values()
    for address in addresses
    if address.family == socket.AF_INET and not address.address.startswith("127.")
]
SERVED_BY_ANOTHER_PROGRAM = """if True:
    import asyncio, httpx, main, socket, sys, uvicorn

    async def ask():
        listening = socket.create_server((sys.argv[1], 0))
        server = uvicorn.Server(uvicorn.Config(main.app, log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        url = f"http://{sys.argv[1]}:{listening.getsockname()[1]}/api/v1/issues"
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.get(url, headers={"Host": "localhost"})
        print(answer.status_code, answer.text)
        server.should_exit = True
        await serving

    asyncio.run(ask())
"""


@pytest.mark.skipif(not ADDRESSES, reason="this machine has no address but 127.0.0.1")
def test_an_api_that_another_program_has_listen_refuses_each_request(servers: Servers) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SERVED_BY_ANOTHER_PROGRAM, ADDRESSES[0]],
        cwd=API,
        env={**os.environ, **servers.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert run.stdout.startswith("403 "), run.stderr
    assert f"the request came in at {ADDRESSES[0]}" in run.stdout
