"""What real processes log: one object a line, one request id from POST to done, and nothing that people wrote."""

import json
import re
import subprocess
from typing import Any

import pytest
import redis
from sqlalchemy.engine import make_url

from contracts import CONTRACT_VERSION
from contracts.limits import REQUEST_ID_PATTERN
from contracts.names import Task
from devstack.network import wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.completions import GOOD, Completions, completion, error_response
from tests.support.database import Database
from tests.support.processes import API, Api, Running, tool
from tests.support.servers import Servers

SHORT = {
    "RETRY_DELAYS": "0.1,0.1",
    "DISPATCH_POLL_SECONDS": "0.1",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "DEBUG",
    # Celery says, before it lets anybody set up logging, that root should not run it.
    "PYTHONWARNINGS": "ignore:You",
}
TITLE, TEXT = "Zyzzyva-title-4711", "Zyzzyva-text-4711"
KEY, BEARER, COOKIE, IN_URL = "sk-Zyzzyva-key", "Zyzzyva-bearer", "Zyzzyva-cookie", "Zyzzyva-password"
WORD = "Zyzzyva"
"""In everything that no line may hold."""


def lines(*processes: Running) -> list[dict[str, Any]]:
    """Return every line of the processes; each has to be an object."""
    return [json.loads(line.partition(" | ")[2]) for process in processes for line in list(process.log.lines)]


def of_request(request_id: str, *processes: Running) -> list[dict[str, Any]]:
    """Find them as `grep` does."""
    found = [line.partition(" | ")[2] for process in processes for line in process.log.lines if request_id in line]
    return sorted((json.loads(line) for line in found), key=lambda line: line["timestamp"])


def events(found: list[dict[str, Any]]) -> list[str]:
    return [f"{line['service']}: {line['event'].partition('[')[0]}" for line in found]


def test_one_grep_follows_an_issue_from_post_to_done(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api({**SHORT, "LOG_LEVEL": "INFO"})
    worker = new_worker({**SHORT, "LOG_LEVEL": "INFO"})
    answer = api.client.post(
        "/api/v1/issues", json={"title": "The page is empty"}, headers={"X-Request-ID": "from-the-client-1"}
    )
    assert answer.headers["X-Request-ID"] == "from-the-client-1"
    wait_until(lambda: database.one("SELECT count(*) FROM issue_search") == 1, 30, "the index")
    wait_until(lambda: worker.log.has("index_issue", "succeeded in"), 30, "Celery to tell")

    found = of_request("from-the-client-1", api, worker)
    print("\n".join(events(found)))
    assert [line for line in events(found) if "Task" not in line] == [
        "api: request_completed",
        "api: job_published",
        "worker: job_completed",
        "api: job_published",
        "worker: job_completed",
    ]
    assert {line["request_id"] for line in found} == {"from-the-client-1"}
    issue_id, jobs = answer.json()["id"], {str(row["id"]) for row in database.query("SELECT id FROM job")}
    for line in found[1:]:
        assert line["job_id"] in jobs
        assert line["issue_id"] == issue_id
        assert line["task"] in {Task.ENRICH_ISSUE, Task.INDEX_ISSUE}
        assert line["contract_version"] == CONTRACT_VERSION
    (done, _) = [line for line in found if line["event"] == "job_completed"]
    assert (done["attempt"], done["queue"], done["level"]) == (1, "issues", "info")
    (access, *_) = found
    assert (access["method"], access["route"], access["status"]) == ("POST", "/api/v1/issues", 201)
    assert access["duration_ms"] > 0
    # Celery's own lines belong to it too.
    assert [line["logger"] for line in found].count("celery.worker.strategy") == 2

    lines(api, worker)  # every line is an object
    assert not api.log.has("/livez"), "probes are logged at DEBUG"
    assert not api.log.has("HTTP/1.1"), "uvicorn's own access lines have the query"


@pytest.mark.parametrize("asked", [None, "", "x" * 129, "two words", 'a"b', "ä", "a\tb"])
def test_a_request_without_a_usable_id_gets_one(api: Api, asked: str | None) -> None:
    headers = [] if asked is None else [(b"X-Request-ID", asked.encode("latin-1"))]
    given = {api.client.get("/api/v1/issues/none", headers=headers).headers["x-request-id"] for _ in range(2)}
    assert len(given) == 2
    assert all(re.fullmatch(REQUEST_ID_PATTERN, found) and found != asked for found in given)


def test_a_problem_tells_the_request_by_its_id(api: Api) -> None:
    answer = api.client.get("/api/v1/issues/none", headers={"X-Request-ID": "abc.1"})
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "abc.1"


def test_retries_and_a_replay_keep_the_first_requests_id(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    api = new_api(SHORT)
    worker = new_worker(SHORT, app="tests.support.sensitive_errors_app")
    api.client.post(
        "/api/v1/issues", json={"title": "t", "description": "bug"}, headers={"X-Request-ID": "the-post"}
    )
    database.wait_for_states({"dead": 1})
    job_id = database.one("SELECT id FROM job")
    api.client.post(f"/api/v1/dead-letters/{job_id}/replay", headers={"X-Request-ID": "the-replay"})
    wait_until(lambda: database.job(job_id)["attempts"] == 6, 30, "the replay's attempts")
    database.wait_for_states({"dead": 1})
    wait_until(lambda: sum("app.ledger.task" in line for line in worker.log.lines) == 6, 30, "the last line")

    told = [line["event"] for line in of_request("the-post", worker) if line["logger"] == "app.ledger.task"]
    assert told == ["job_retry_scheduled", "job_retry_scheduled", "job_died"] * 2
    (decided,) = [line for line in lines(api) if line["event"] == "dead_letter_decided"]
    assert (decided["request_id"], decided["original_request_id"]) == ("the-replay", "the-post")
    assert decided["job_id"] == str(job_id)


def test_nothing_that_people_wrote_and_no_secret_is_in_any_line(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, servers: Servers, server: Completions
) -> None:
    api = new_api({**SHORT, "OPENAI_LOG": "debug"})
    openai = {
        "AI_PROVIDER": "openai",
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": KEY,
        "OPENAI_MODEL": "m",
        "OPENAI_LOG": "debug",
        "CIRCUIT_THRESHOLD": "100",
    }
    server.then(error_response(503, message=f"{TITLE} {KEY}"), completion({**GOOD, "summary": TEXT}))
    worker = new_worker({**SHORT, **openai}, app="tests.support.sensitive_errors_app")
    secrets = {"authorization": f"Bearer {BEARER}", "cookie": f"session={COOKIE}", "traceparent": TEXT}

    def post(body: object, expected: int) -> None:
        answer = api.client.post(f"/api/v1/issues?q={TEXT}", json=body, headers=secrets)
        assert answer.status_code == expected, answer.text

    # The last try of what a provider could not do is the local enricher's: that is the "transient" one.
    failing = ("transient", "bug", "chain", "permanent", "validation", "unique", "data")
    for how in ("fine", "fine", "library", *failing):
        post({"title": f"{TITLE} {how}", "description": f"{how} {IN_URL} {TEXT}"}, 201)
    for body in ({"title": TITLE, "priority": TEXT}, {"title": TITLE, TEXT: 1}, {"title": TITLE * 99}, [TITLE]):
        post(body, 422)
    api.client.post("/api/v1/issues", content=b'{"title": "' + TITLE.encode(), headers=secrets)
    api.client.get(f"/{TEXT}", params={"q": TITLE})
    database.wait_for_states({"succeeded": 4, "dead": len(failing) - 1})

    # What the database refuses, and quotes.
    with servers.superuser() as cursor:
        cursor.execute(f"ALTER TABLE issue ADD CONSTRAINT no_more CHECK (title !~ '^{TITLE} refused')")
    try:
        post({"title": f"{TITLE} refused", "description": TEXT}, 500)
    finally:
        with servers.superuser() as cursor:
            cursor.execute("ALTER TABLE issue DROP CONSTRAINT no_more")
    worker.process.stop(60)
    api.process.stop(60)

    everything = lines(api, worker)
    assert {line["level"] for line in everything} >= {"debug", "info", "warning", "error"}
    leaks = [line for process in (api, worker) for line in process.log.lines if WORD in line]
    assert leaks == []
    for url in (servers.database_url, *servers.env.values()):
        if password := make_url(url).password:
            assert not [line for process in (api, worker) for line in process.log.lines if password in line]
    # And yet they tell what happened where.
    (unexpected,) = [line for line in everything if line["event"] == "request_failed"]
    assert unexpected["exception"].startswith("CheckViolationError\n")
    assert "create_issue" in unexpected["exception"]
    retrying = {line["error"] for line in everything if line["event"] == "job_retry_scheduled"}
    assert retrying >= {"ValueError", "RuntimeError", "TransientError", "IntegrityError", "DataError"}
    assert "ProviderError: status 503 error" in retrying
    library = [line for line in everything if line["logger"] == "some.library"]
    assert [line["event"] for line in library[:3]] == [
        "it failed: ValueError",
        "again: 'ValueError'",
        "ValueError",
    ]
    assert library[3]["event"].startswith("cannot connect to redis://user:***@127.0.0.1")
    assert any(line["logger"] == "py.warnings" for line in everything)
    # The ledger keeps what the logs leave out.
    assert TITLE in " ".join(failure["error"] for failure in database.query("SELECT error FROM job_failure"))


def test_the_migration_logs_the_same_way(servers: Servers) -> None:
    done = subprocess.run(
        [tool("alembic"), "upgrade", "head"],
        cwd=API,
        env={**servers.env, "LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=True,
    )
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["service"] for line in told} == {"migrate"}
    assert done.stdout == ""


def test_what_ends_a_program_is_a_line_too(servers: Servers) -> None:
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
    assert WORD not in done.stderr


def test_text_for_a_person_at_a_terminal(new_api: ApiFactory, broker: redis.Redis) -> None:
    del broker
    api = new_api({"LOG_FORMAT": "console"})
    api.client.get("/api/v1/issues")
    wait_until(
        lambda: api.log.has("request_completed", "method", "GET", "route", "/api/v1/issues"), 10, "the line"
    )
