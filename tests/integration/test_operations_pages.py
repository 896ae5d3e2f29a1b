"""The commands of the guides and runbooks are valid. This module runs the read-only ones on real servers.

tests/containers/test_compose.py runs the same commands in containers.
"""

import shlex
from pathlib import Path

import pytest
import redis
import yaml

from contracts.names import Task
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.operations import COMPOSE_PAGES, commands
from tests.support.processes import ROOT, Api

SERVICES = {
    name
    for file in (ROOT / "deploy/compose").glob("*.yaml")
    for name in yaml.safe_load(file.read_text()).get("services", {})
}
CHECKED: set[str] = set()
"""Commands that a previous page contained."""


@pytest.mark.parametrize("page", COMPOSE_PAGES, ids=lambda page: page.stem)
def test_operations_page_commands_are_valid(page: Path, api: Api, database: Database, broker: redis.Redis) -> None:
    new = [line for line in commands(page) if line not in CHECKED]
    CHECKED.update(new)
    for line in new:
        match shlex.split(line):
            case ["docker", "compose", *arguments]:
                check_compose_command(arguments, database, broker)
            case ["issuetracker", *arguments]:
                check_cli_command(api, database, arguments)
            case ["curl", *_, url]:
                assert api.client.get(url.removeprefix("http://127.0.0.1:8000")).status_code == 200
            case ["deploy/backup", *_] | [".venv/bin/python", *_]:
                pass  # tests/integration/test_backup.py; a line of redis-py
            case _:
                raise AssertionError(f"{page.name}: no check for the command: {line}")


def check_compose_command(arguments: list[str], database: Database, broker: redis.Redis) -> None:
    match arguments:
        case ["exec", "postgres", "psql", "-U", "issuetracker", "IssueTracker", "-c", sql]:
            assert database.query(f"EXPLAIN {sql}")
        case ["exec", "redis", "redis-cli", *command]:
            check_redis_command(broker, command)
        case _:
            check_compose_arguments(arguments)


def check_redis_command(broker: redis.Redis, arguments: list[str]) -> None:
    match arguments:
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
            broker.execute_command(*arguments)


def check_compose_arguments(arguments: list[str]) -> None:
    verb, *rest = arguments
    assert verb in {"ps", "logs", "up", "stop", "restart", "exec", "run", "images", "top"}
    names = [word.partition("=")[0] for word in rest if not word.startswith("-")]
    if verb in {"exec", "run"}:
        names = names[:1]
    assert set(names) <= SERVICES, arguments


def check_cli_command(api: Api, database: Database, arguments: list[str]) -> None:
    if "WEBHOOK_ID" in arguments:
        hook = {"url": "https://hooks.example.com/", "events": ["issue.created"]}
        hook_id = api.client.post("/api/v1/webhooks", json=hook).json()["id"]
        arguments = [hook_id if word == "WEBHOOK_ID" else word for word in arguments]
    if "ID" in arguments:
        letter = database.add_job(Task.ENRICH_ISSUE)
        database.query("UPDATE job SET state = 'dead', lease_until = NULL WHERE id = %s", letter)
        arguments = [str(letter) if word == "ID" else word for word in arguments]
    done = run_cli(str(api.client.base_url), *arguments)
    # The doctor exits with 14 because no worker runs.
    assert done.returncode in ({14} if arguments == ["doctor"] else {0}), done.stdout + done.stderr
