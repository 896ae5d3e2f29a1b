"""Logs of real processes: one JSON object per line, one request id, no user text and no secrets."""

import json
import re
import subprocess
from collections import Counter
from typing import Any

import pytest
import redis
from sqlalchemy.engine import make_url

from contracts import CONTRACT_VERSION
from contracts.limits import REQUEST_ID_PATTERN
from contracts.names import Task
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.completions import GOOD, Completions, completion, error_response
from tests.support.database import Database
from tests.support.forked import IGNORED_WARNING
from tests.support.processes import API, Api, RunningProcess, tool
from tests.support.servers import Servers
from tests.support.waiting import DEADLINE_S, wait_until

LOG_SETTINGS = {
    "RETRY_DELAYS": "0.1,0.1",
    "DISPATCH_POLL_SECONDS": "0.1",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "DEBUG",
    # Celery warns about running as root before it configures logging.
    IGNORED_WARNING: "You",
}
TITLE, TEXT = "Zyzzyva-title-4711", "Zyzzyva-text-4711"
KEY, BEARER_TOKEN, SESSION_COOKIE, IN_URL = (
    "sk-Zyzzyva-key",
    "Zyzzyva-bearer",
    "Zyzzyva-cookie",
    "Zyzzyva-password",
)
MARKER = "Zyzzyva"
"""A part of every value that must not appear in a log line."""


def log_lines(*processes: RunningProcess) -> list[dict[str, Any]]:
    """Return the parsed log lines of the processes. Every line must be a JSON object."""
    found = []
    for line in [line.partition(" | ")[2] for process in processes for line in list(process.log.lines)]:
        assert line.startswith("{"), f"not JSON: {line}"
        found.append(json.loads(line))
    return found


def lines_of_request(request_id: str, *processes: RunningProcess) -> list[dict[str, Any]]:
    """Return the log lines that contain the request id, sorted by time."""
    found = [line.partition(" | ")[2] for process in processes for line in process.log.lines if request_id in line]
    return sorted((json.loads(line) for line in found), key=lambda line: line["timestamp"])


def events(found: list[dict[str, Any]]) -> list[str]:
    return [f"{line['service']}: {line['event'].partition('[')[0]}" for line in found]


def test_log_lines_from_post_to_completion_share_request_id(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({**LOG_SETTINGS, "LOG_LEVEL": "INFO"})
    worker = new_worker({**LOG_SETTINGS, "LOG_LEVEL": "INFO"})
    response = api.client.post(
        "/api/v1/issues", json={"title": "The page is empty"}, headers={"X-Request-ID": "from-the-client-1"}
    )
    assert response.headers["X-Request-ID"] == "from-the-client-1"
    wait_until(lambda: database.one("SELECT count(*) FROM issue_search") == 1, "the issue to be indexed")
    wait_until(lambda: worker.log.has("index_issue", "succeeded in"), "Celery to log the completion")
    # A process writes its line after it has committed, and another one may be faster.
    expected = Counter(
        {"api: request_completed": 1, "api: job_published": 2, "worker: job_completed": 2, "worker: Task": 4}
    )

    def count_lines() -> Counter[str]:
        names = events(lines_of_request("from-the-client-1", api, worker))
        return Counter("worker: Task" if "Task" in name else name for name in names)

    wait_until(lambda: count_lines().total() >= expected.total(), lambda: f"all lines, not {count_lines()}")

    found = lines_of_request("from-the-client-1", api, worker)
    print("\n".join(events(found)))
    assert count_lines() == expected
    assert {line["request_id"] for line in found} == {"from-the-client-1"}
    issue_id, jobs = response.json()["id"], {str(row["id"]) for row in database.query("SELECT id FROM job")}
    (access,) = [line for line in found if line["event"] == "request_completed"]
    for line in found:
        if line is access:
            continue
        assert line["job_id"] in jobs
        assert line["issue_id"] == issue_id
        assert line["task"] in {Task.ENRICH_ISSUE, Task.INDEX_ISSUE}
        assert line["contract_version"] == CONTRACT_VERSION
    completed = [line for line in found if line["event"] == "job_completed"]
    (done,) = [line for line in completed if line["task"] == Task.ENRICH_ISSUE]
    assert {line["job_id"] for line in completed} == jobs
    assert (done["attempt"], done["queue"], done["level"]) == (1, "issues", "info")
    assert (access["method"], access["route"], access["status"]) == ("POST", "/api/v1/issues", 201)
    assert access["duration_ms"] > 0
    # The lines of Celery have the request id too.
    assert [line["logger"] for line in found].count("celery.worker.strategy") == 2

    log_lines(api, worker)  # raises an error for a line that is not an object
    assert not api.log.has("/livez"), "probes must be logged only at DEBUG"
    assert not api.log.has("HTTP/1.1"), "the access log of uvicorn must be off because it contains the query"


@pytest.mark.parametrize("requested_id", [None, "", "x" * 129, "two words", 'a"b', "ä", "a\tb"])
def test_request_without_valid_id_gets_generated_id(api: Api, requested_id: str | None) -> None:
    headers = [] if requested_id is None else [(b"X-Request-ID", requested_id.encode("latin-1"))]
    ids = {api.client.get("/api/v1/issues/none", headers=headers).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch(REQUEST_ID_PATTERN, found) and found != requested_id for found in ids)


def test_problem_contains_request_id(api: Api) -> None:
    response = api.client.get("/api/v1/issues/none", headers={"X-Request-ID": "abc.1"})
    assert response.json()["request_id"] == response.headers["x-request-id"] == "abc.1"


def test_retries_and_replay_keep_request_id_of_post(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api(LOG_SETTINGS)
    worker = new_worker(LOG_SETTINGS, app="tests.support.sensitive_errors_app")
    api.client.post(
        "/api/v1/issues", json={"title": "t", "description": "bug"}, headers={"X-Request-ID": "the-post"}
    )
    database.wait_for_states({"dead": 1})
    job_id = database.one("SELECT id FROM job")
    api.client.post(f"/api/v1/dead-letters/{job_id}/replay", headers={"X-Request-ID": "the-replay"})
    wait_until(lambda: database.job(job_id)["attempts"] == 6, "the attempts of the replay")
    database.wait_for_states({"dead": 1})
    wait_until(lambda: sum("app.ledger.task" in line for line in worker.log.lines) == 6, "the last log line")

    entries = [
        line["event"] for line in lines_of_request("the-post", worker) if line["logger"] == "app.ledger.task"
    ]
    assert entries == ["job_retry_scheduled", "job_retry_scheduled", "job_died"] * 2
    (decision,) = [line for line in log_lines(api) if line["event"] == "dead_letter_decided"]
    assert (decision["request_id"], decision["original_request_id"]) == ("the-replay", "the-post")
    assert decision["job_id"] == str(job_id)


def test_log_lines_contain_no_user_text_and_no_secret(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, servers: Servers, server: Completions
) -> None:
    api = new_api({**LOG_SETTINGS, "OPENAI_LOG": "debug"})
    openai = {
        "AI_PROVIDER": "openai",
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": KEY,
        "OPENAI_MODEL": "m",
        "OPENAI_LOG": "debug",
        "CIRCUIT_THRESHOLD": "100",
    }
    server.then(error_response(503, message=f"{TITLE} {KEY}"), completion({**GOOD, "summary": TEXT}))
    worker = new_worker({**LOG_SETTINGS, **openai}, app="tests.support.sensitive_errors_app")
    secrets = {
        "authorization": f"Bearer {BEARER_TOKEN}",
        "cookie": f"session={SESSION_COOKIE}",
        "traceparent": TEXT,
    }

    def post(body: object, expected: int) -> None:
        response = api.client.post(f"/api/v1/issues?q={TEXT}", json=body, headers=secrets)
        assert response.status_code == expected, response.text

    # The local enricher runs the last attempt after provider errors, so the "transient" job succeeds.
    failing = ("transient", "bug", "chain", "permanent", "validation", "unique", "data")
    for how in ("fine", "fine", "library", *failing):
        post({"title": f"{TITLE} {how}", "description": f"{how} {IN_URL} {TEXT}"}, 201)
    for body in ({"title": TITLE, "priority": TEXT}, {"title": TITLE, TEXT: 1}, {"title": TITLE * 99}, [TITLE]):
        post(body, 422)
    api.client.post("/api/v1/issues", content=b'{"title": "' + TITLE.encode(), headers=secrets)
    api.client.get(f"/{TEXT}", params={"q": TITLE})
    database.wait_for_states({"succeeded": 4, "dead": len(failing) - 1})

    # An error message of the database that quotes the row.
    with servers.superuser() as cursor:
        cursor.execute(f"ALTER TABLE issue ADD CONSTRAINT no_more CHECK (title !~ '^{TITLE} refused')")
    try:
        post({"title": f"{TITLE} refused", "description": TEXT}, 500)
    finally:
        with servers.superuser() as cursor:
            cursor.execute("ALTER TABLE issue DROP CONSTRAINT no_more")
    worker.process.stop(DEADLINE_S)
    api.process.stop(DEADLINE_S)

    all_lines = log_lines(api, worker)
    assert {line["level"] for line in all_lines} >= {"debug", "info", "warning", "error"}
    leaks = [line for process in (api, worker) for line in process.log.lines if MARKER in line]
    assert leaks == []
    for url in (servers.database_url, *servers.env.values()):
        if password := make_url(url).password:
            assert not [line for process in (api, worker) for line in process.log.lines if password in line]
    # The lines still contain the kind and the location of each error.
    (unexpected,) = [line for line in all_lines if line["event"] == "request_failed"]
    assert unexpected["exception"].startswith("CheckViolationError\n")
    assert "create_issue" in unexpected["exception"]
    retrying = {line["error"] for line in all_lines if line["event"] == "job_retry_scheduled"}
    assert retrying >= {"ValueError", "RuntimeError", "TransientError", "IntegrityError", "DataError"}
    assert "ProviderError: status 503 error" in retrying
    library = [line for line in all_lines if line["logger"] == "some.library"]
    assert [line["event"] for line in library[:3]] == [
        "it failed: ValueError",
        "again: 'ValueError'",
        "ValueError",
    ]
    assert library[3]["event"].startswith("cannot connect to redis://user:***@127.0.0.1")
    assert any(line["logger"] == "py.warnings" for line in all_lines)
    # The ledger stores the full messages.
    assert TITLE in " ".join(failure["error"] for failure in database.query("SELECT error FROM job_failure"))


def test_migration_logs_json_lines(servers: Servers) -> None:
    done = subprocess.run(
        [tool("alembic"), "upgrade", "head"],
        cwd=API,
        env={**servers.env, "LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=True,
    )
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["service"] for line in entries} == {"migrate"}
    assert done.stdout == ""


def test_unhandled_exception_is_logged_as_json_line(servers: Servers) -> None:
    url = "postgresql://issuetracker:Zyzzyva-password@127.0.0.1:1/IssueTracker"
    done = subprocess.run(
        [tool("alembic"), "upgrade", "head"],
        cwd=API,
        env={**servers.env, "DATABASE_URL": url, "LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = [json.loads(line) for line in done.stderr.splitlines() if '"critical"' in line]
    assert line["event"] == "exception_unhandled"
    assert "ConnectionRefusedError" in line["exception"]
    assert MARKER not in done.stderr


def test_log_with_console_format_is_text(new_api: ApiFactory, broker: redis.Redis) -> None:
    del broker
    api = new_api({"LOG_FORMAT": "console"})
    api.client.get("/api/v1/issues")
    wait_until(
        lambda: api.log.has("request_completed", "method", "GET", "route", "/api/v1/issues"), "the log line"
    )
    assert not api.log.has("api | {"), "no line may be JSON"
