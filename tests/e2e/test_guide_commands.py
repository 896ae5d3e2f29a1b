"""Every command of the guide, unchanged, in the shell of `make shell` and in the project's root.

Only server addresses, and ports that a test must not use, differ.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from contracts.settings import Settings
from devstack.network import is_taken
from devstack.process import Process
from devstack.settings import DevSettings
from devstack.shell import build_environment
from tests.support.database import Database
from tests.support.ports import free_port
from tests.support.processes import API, ROOT, WORKER, Api
from tests.support.servers import Log, Servers
from tests.support.waiting import DEADLINE_S, wait_until

ISSUE = {
    "title": "Test Issue",
    "description": "This is a test issue for Celery enrichment",
    "priority": "high",
}
CURL = f"""\
curl --silent --fail -X POST http://localhost:8000/api/v1/issues \
  -H "Content-Type: application/json" \
  -d '{json.dumps(ISSUE)}'"""
SELECT = "SELECT id, title, ai_summary, tags FROM issue WHERE ai_summary IS NOT NULL LIMIT 1;"
SUMMARY = "AI Summary: Test Issue. This is a test issue for Celery enrichment"

Shell = Callable[..., tuple[Process, Log]]


@pytest.fixture
def environment(servers: Servers) -> dict[str, str]:
    """Return the environment of `make shell` for the servers of the tests."""
    broker = {name: url.replace("127.0.0.1", "localhost") for name, url in servers.env.items() if "CELERY" in name}
    settings = DevSettings(database_url=servers.database_url, celery_broker_url=broker["CELERY_BROKER_URL"])
    return {**build_environment(settings), **servers.env, **broker}


@pytest.fixture
def shell(environment: dict[str, str], database: Database, broker: redis.Redis) -> Iterator[Shell]:
    del database, broker
    started = []

    def start(command: str, directory: Path = ROOT) -> tuple[Process, Log]:
        log = Log()
        process = Process("guide", ["bash", "-c", f"exec {command}"], log, cwd=directory, env=environment)
        started.append(process)
        return process, log

    yield start
    for process in started:
        process.stop(60)


def run(command: str, environment: Mapping[str, str]) -> str:
    """Run a command that ends in the project's root, and return its output."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_default_broker_is_that_of_guide() -> None:
    assert Settings.model_fields["celery_broker_url"].default == "redis://localhost:6379/0"


@pytest.mark.parametrize(
    ("command", "node", "directory"),
    [
        ("celery -A app.celery_app worker --loglevel=info", "celery@", ROOT),
        ("celery -A app.celery_app worker --loglevel=info --concurrency=4 -n worker1@%h", "worker1@", WORKER),
    ],
)
def test_guide_worker_command_starts_worker_that_enriches(
    command: str,
    node: str,
    directory: Path,
    shell: Shell,
    environment: dict[str, str],
    servers: Servers,
    api: Api,
    database: Database,
) -> None:
    process, log = shell(command, directory)
    wait_until(lambda: log.has(node, " ready."), lambda: f"the worker\n{log}")

    banner = str(log)
    assert re.search(r"\.> app: +app\.celery_app:0x", banner)
    assert re.search(rf"\.> transport: +redis://localhost:{servers.redis_port}/0$", banner, re.MULTILINE)
    assert re.search(rf"\.> results: +redis://localhost:{servers.redis_port}/1$", banner, re.MULTILINE)
    assert re.search(r"\.> task events: ON", banner)
    assert re.search(r"\.> issues +exchange=issues\(direct\) key=issues", banner)
    assert re.search(r"\.> default +exchange=default\(direct\) key=default", banner)
    assert re.search(r"\. app\.tasks\.issues\.enrich_issue", banner)
    assert f"Connected to redis://localhost:{servers.redis_port}/0" in banner
    if "--concurrency=4" in command:
        assert "concurrency: 4 (prefork)" in banner

    issue = json.loads(run(CURL.replace(":8000", f":{api.client.base_url.port}"), environment))
    assert (issue["title"], issue["ai_summary"]) == ("Test Issue", None)
    database.wait_for_states({"succeeded": 1})
    wait_until(lambda: log.has("Task app.tasks.issues.enrich_issue[", "succeeded in"), lambda: f"success\n{log}")
    assert log.has("Task app.tasks.issues.enrich_issue[", "received")

    row = run(f"psql -U postgres -d IssueTracker --no-psqlrc -c {shlex.quote(SELECT)}", environment).splitlines()[
        2
    ]
    assert [cell.strip() for cell in row.split("|")] == [issue["id"], "Test Issue", SUMMARY, ""]
    task_id = database.one("SELECT id FROM job WHERE queue = 'issues'")
    assert '"status": "SUCCESS"' in run(f"redis-cli -n 1 GET celery-task-meta-{task_id}", environment)

    process.send(signal.SIGINT)
    process.wait(DEADLINE_S)
    assert log.has("Warm shutdown")


def test_guide_api_command_starts_api(shell: Shell, environment: dict[str, str], database: Database) -> None:
    if is_taken(8000):
        pytest.skip("port 8000, which the guide's command listens on, is in use on this machine")
    process, log = shell("python -m uvicorn main:app --reload")
    with httpx.Client(base_url="http://127.0.0.1:8000", timeout=60) as client:

        def is_live() -> bool:
            assert process.exit_code is None, str(log)
            try:
                return client.get("/livez").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(is_live, lambda: f"the API\n{log}")
        issue = json.loads(run(CURL, environment))

    assert issue["title"] == "Test Issue"
    assert database.one("SELECT count(*) FROM issue") == 1
    # In the project's root, uvicorn would otherwise watch the virtual environment too.
    assert f"Will watch for changes in these directories: ['{API}']" in str(log)


def test_guide_flower_command_starts_flower_on_loopback(shell: Shell) -> None:
    if is_taken(5555):
        pytest.skip("port 5555, which the guide's command listens on, is in use on this machine")
    process, log = shell("celery -A app.celery_app flower --port=5555")
    with httpx.Client(base_url="http://127.0.0.1:5555", timeout=60) as client:

        def is_live() -> bool:
            assert process.exit_code is None, str(log)
            try:
                return client.get("/healthcheck").text == "OK"
            except httpx.TransportError:
                return False

        wait_until(is_live, lambda: f"Flower\n{log}")
        assert "Flower" in client.get("/").text
    # The page has no password here, so Flower may listen only on the loopback address.
    connections = psutil.Process(process.pid).net_connections("inet")
    listening = {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_make_shell_runs_troubleshooting_commands_of_guide(
    api: Api, broker: redis.Redis, servers: Servers
) -> None:
    """`redis-cli LLEN issues` is what the guide's `redis-cli LLEN celery` means."""
    api.post("No worker runs")
    wait_until(lambda: broker.llen("issues") == 1, "the message to be published")
    commands = """
        redis-cli ping
        redis-cli LLEN issues
        echo 'KEYS issues' | redis-cli
        psql --no-psqlrc -At -c "SELECT 1"
        psql --no-psqlrc -At -U postgres -d IssueTracker -c "SELECT count(*) FROM issue"
    """
    environment = {**os.environ, **servers.env, "SHELL": "/bin/sh"}
    done = subprocess.run(
        [sys.executable, "-m", "devstack", "shell"],
        cwd=ROOT,
        env=environment,
        input=commands,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split("\n") == ["PONG", "(integer) 1", "1) issues", "1", "1", ""], done.stderr


def test_redis_cli_without_server_prints_one_line_and_exits_with_2() -> None:
    environment = {**os.environ, "CELERY_BROKER_URL": f"redis://localhost:{free_port()}/0"}
    done = subprocess.run(
        [ROOT / "devstack/bin/redis-cli", "ping"], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "Connection refused. Start the server with `make run`." in line
