"""Every command of the guide, unchanged, in the directory that it names.

The commands run in a shell with the activated environment of the project (docs/how-to/run-processes.md). Only
server addresses, and ports that a test must not use, come from environment variables.
"""

import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from devstack.network import is_taken, wait_until
from devstack.postgres import find_program
from devstack.process import Process
from tests.support.database import Database
from tests.support.processes import API, WORKER, Api
from tests.support.servers import Log, Servers

START_TIMEOUT_S = 60

Shell = Callable[..., tuple[Process, Log]]


@pytest.fixture
def shell(servers: Servers, database: Database, broker: redis.Redis) -> Iterator[Shell]:
    del database, broker
    started = []
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(command: str, directory: Path, env: Mapping[str, str] | None = None) -> tuple[Process, Log]:
        log = Log()
        process = Process(
            "guide",
            ["bash", "-c", f"exec {command}"],
            log,
            cwd=directory,
            env={**servers.env, "PATH": path, **(env or {})},
        )
        started.append(process)
        return process, log

    yield run
    for process in started:
        process.stop(60)


@pytest.mark.parametrize(
    ("command", "node"),
    [
        ("celery -A app.celery_app worker --loglevel=info", "celery@"),
        ("celery -A app.celery_app worker --loglevel=info --concurrency=4 -n worker1@%h", "worker1@"),
    ],
)
def test_guide_worker_command_starts_worker(
    command: str, node: str, shell: Shell, api: Api, database: Database
) -> None:
    process, log = shell(command, WORKER)
    wait_until(lambda: log.has(node, " ready."), START_TIMEOUT_S, f"the worker\n{log}")

    banner = str(log)
    assert re.search(r"\.> issues +exchange=issues\(direct\) key=issues", banner)
    assert re.search(r"\.> default +exchange=default\(direct\) key=default", banner)
    assert re.search(r"\. app\.tasks\.issues\.enrich_issue", banner)
    assert "/0" in re.findall(r"transport: +(\S+)", banner)[0]
    assert "/1" in re.findall(r"results: +(\S+)", banner)[0]
    if "--concurrency=4" in command:
        assert "concurrency: 4 (prefork)" in banner

    api.post("Login button not working", description="It does not respond.")
    database.wait_for_states({"succeeded": 1})
    assert log.has("app.tasks.issues.enrich_issue", "received")

    process.send(signal.SIGINT)
    process.wait(60)
    assert log.has("Warm shutdown")


def test_guide_api_command_starts_api(shell: Shell, database: Database) -> None:
    if is_taken(8000):
        pytest.skip("port 8000, which the guide's command listens on, is in use on this machine")
    process, log = shell("python -m uvicorn main:app --reload", API)
    with httpx.Client(base_url="http://127.0.0.1:8000") as client:

        def is_live() -> bool:
            assert process.exit_code is None, str(log)
            try:
                return client.get("/livez").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(is_live, START_TIMEOUT_S, f"the API\n{log}")
        response = client.post(
            "/api/v1/issues",
            json={"title": "Login button not working", "description": "No reaction.", "priority": "high"},
        )

    assert response.status_code == 201
    assert database.one("SELECT count(*) FROM issue") == 1


def test_guide_flower_command_starts_flower_on_loopback(shell: Shell) -> None:
    if is_taken(5555):
        pytest.skip("port 5555, which the guide's command listens on, is in use on this machine")
    process, log = shell("celery -A app.celery_app flower --port=5555", WORKER)
    with httpx.Client(base_url="http://127.0.0.1:5555") as client:

        def is_live() -> bool:
            assert process.exit_code is None, str(log)
            try:
                return client.get("/healthcheck").text == "OK"
            except httpx.TransportError:
                return False

        wait_until(is_live, START_TIMEOUT_S, f"Flower\n{log}")
        assert "Flower" in client.get("/").text
    # The page has no password here, so Flower may listen only on the loopback address.
    connections = psutil.Process(process.pid).net_connections("inet")
    listening = {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_guide_queries_return_issue_and_task_result(
    shell: Shell, api: Api, servers: Servers, database: Database
) -> None:
    shell("celery -A app.celery_app worker --loglevel=info", WORKER)
    api.post("Login button not working", description="It does not respond.", priority="high")
    database.wait_for_states({"succeeded": 1})

    select = "SELECT id, title, ai_summary, tags FROM issue WHERE ai_summary IS NOT NULL"
    psql, log = shell(f"{find_program('psql')} {servers.database_url} -At -c {shlex.quote(select)}", API)
    assert psql.wait(30) == 0

    issue_id, title, summary, tags = log.lines[0].removeprefix("guide | ").split("|")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", issue_id)
    assert title == "Login button not working"
    assert summary.startswith("AI Summary: ")
    assert tags == "bug,frontend"
    task_id = database.one("SELECT id FROM job WHERE queue = 'issues'")
    with redis.Redis(port=servers.redis_port, db=1, decode_responses=True) as results:
        wait_until(lambda: results.get(f"celery-task-meta-{task_id}") is not None, 30, "the result of the task")
        assert '"status": "SUCCESS"' in str(results.get(f"celery-task-meta-{task_id}"))


def test_guide_troubleshooting_commands_return_queue_length(api: Api, broker: redis.Redis) -> None:
    """`LLEN issues` and `LLEN default` return the number of queued messages."""
    api.post("No worker runs")

    wait_until(lambda: broker.llen("issues") == 1, 30, "the message to be published")
    assert broker.llen("default") == 0
