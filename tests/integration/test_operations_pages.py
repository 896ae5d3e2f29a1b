"""Every command of the guides and runbooks, against real servers if it only reads.

The same commands are run in containers by tests/e2e/test_compose.py.
"""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
import redis
import yaml

from contracts.names import Task
from tests.support.database import Database
from tests.support.operations import COMPOSE_PAGES, commands
from tests.support.processes import ROOT, Api, tool

SERVICES = {
    name
    for file in (ROOT / "deploy/compose").glob("*.yaml")
    for name in yaml.safe_load(file.read_text()).get("services", {})
}
TRIED: set[str] = set()
"""Commands are on more than one page."""


@pytest.mark.parametrize("page", COMPOSE_PAGES, ids=lambda page: page.stem)
def test_commands_ask_for_what_there_is(page: Path, api: Api, database: Database, broker: redis.Redis) -> None:
    new = [line for line in commands(page) if line not in TRIED]
    TRIED.update(new)
    for line in new:
        match shlex.split(line):
            case ["docker", "compose", *words]:
                ask_compose(words, database, broker)
            case ["issuetracker", *words]:
                ask_cli(api, database, words)
            case ["curl", *_, url]:
                assert api.client.get(url.removeprefix("http://127.0.0.1:8000")).status_code == 200
            case ["deploy/backup", *_] | [".venv/bin/python", *_]:
                pass  # tests/integration/test_backup.py; a line of redis-py
            case _:
                raise AssertionError(f"{page.name}: nobody has tried {line}")


def ask_compose(words: list[str], database: Database, broker: redis.Redis) -> None:
    match words:
        case ["exec", "postgres", "psql", "-U", "issuetracker", "IssueTracker", "-c", sql]:
            assert database.query(f"EXPLAIN {sql}")
        case ["exec", "redis", "redis-cli", *command]:
            ask_redis(broker, command)
        case _:
            check_compose(words)


def ask_redis(broker: redis.Redis, words: list[str]) -> None:
    match words:
        case ["--scan", "--pattern", pattern]:
            assert pattern == "worker:*"
        case ["--bigkeys"] | ["FLUSHALL"] | ["BGREWRITEAOF"]:
            pass
        case ["CONFIG", "SET", setting, _]:
            assert broker.config_get(setting)
        case ["-n", _, *command]:
            broker.execute_command(*command)
        case ["LLEN", queue]:
            assert queue in {"issues", "default", "refused"}
        case _:
            broker.execute_command(*words)


def check_compose(words: list[str]) -> None:
    verb, *rest = words
    assert verb in {"ps", "logs", "up", "stop", "restart", "exec", "run", "images", "top"}
    named = [word.partition("=")[0] for word in rest if not word.startswith("-")]
    if verb in {"exec", "run"}:
        named = named[:1]
    assert set(named) <= SERVICES, words


def ask_cli(api: Api, database: Database, words: list[str]) -> None:
    if "WEBHOOK_ID" in words:
        hook = {"url": "https://hooks.example.com/", "events": ["issue.created"]}
        hook_id = api.client.post("/api/v1/webhooks", json=hook).json()["id"]
        words = [hook_id if word == "WEBHOOK_ID" else word for word in words]
    if "ID" in words:
        letter = database.add_job(Task.ENRICH_ISSUE)
        database.query("UPDATE job SET state = 'dead', lease_until = NULL WHERE id = %s", letter)
        words = [str(letter) if word == "ID" else word for word in words]
    done = subprocess.run(
        [tool("issuetracker"), *words],
        env={**os.environ, "ISSUETRACKER_URL": str(api.client.base_url)},
        capture_output=True,
        text=True,
        check=False,
    )
    # No worker is here, which the doctor says.
    assert done.returncode in ({14} if words == ["doctor"] else {0}), done.stdout + done.stderr
