"""Traces, as a real OTLP receiver gets them from real processes."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from devstack.network import free_port, wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.otlp import Receiver, tree
from tests.support.processes import API, WORKER, Api
from tests.support.servers import Servers
from tests.support.tasks import TASK

MISBEHAVING = "tests.support.misbehaving_app"
SHORT = {"RETRY_DELAYS": "0.1,0.1,0.1", "DISPATCH_POLL_SECONDS": "0.1"}
MARK = "Zyzzyva"
PARENT = "00-{trace}-00f067aa0ba902b7-01"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


def sent_to(receiver: Receiver, **more: str) -> dict[str, str]:
    return {**SHORT, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100", **more}


def post(api: Api, trace_id: str, title: str = "The page is empty") -> str:
    """Post an issue as a traced client does."""
    headers = {"traceparent": PARENT.format(trace=trace_id), "X-Request-ID": f"request-{trace_id[:4]}"}
    answer = api.client.post("/api/v1/issues?secret=" + MARK, json={"title": title}, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_one_post_is_one_trace_until_its_index_is_written(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, receiver: Receiver, servers: Servers
) -> None:
    api = new_api(sent_to(receiver))
    new_worker(sent_to(receiver))
    for path in ("/livez", "/readyz", "/metrics"):
        api.client.get(path)
    issue_id = post(api, TRACE, f"{MARK} is on fire")
    wait_until(lambda: database.one("SELECT count(*) FROM issue_search") == 1, 30, "the index")

    wait_until(lambda: len(receiver.named("INSERT issue_search")) == 1, 30, "the last span")
    wait_until(lambda: len(receiver.named("index_issue")) == 1, 30, "the last task's span")
    print("\n".join(tree(receiver.trace(TRACE))))
    lines = tree(receiver.trace(TRACE))
    assert lines[:3] == ["api: POST /api/v1/issues", "  api: INSERT issue", "  api: publish issues"]
    for line in (
        "    worker: enrich_issue",
        "      worker: UPDATE job",
        "      worker: SELECT issue",
        "      worker: enrich",
        "      worker: INSERT enrichment",
        "      api: publish default",
        "        worker: index_issue",
        "          worker: INSERT issue_search",
    ):
        assert line in lines, "\n".join(lines)
    assert receiver.traces() == {TRACE}, "what polls, or is polled, is no trace"

    spans = receiver.trace(TRACE)
    (request,) = receiver.named("POST /api/v1/issues")
    assert request.parent_id == "00f067aa0ba902b7"
    assert request.attributes["http.route"] == "/api/v1/issues"
    assert request.attributes["http.response.status_code"] == 201
    assert request.attributes["request_id"] == "request-4bf9"
    (task,) = receiver.named("enrich_issue")
    assert task.attributes["issue_id"] == issue_id
    assert task.attributes["attempt"] == 1
    assert not any(span.is_error for span in spans)

    for path in (f"/{MARK}", f"/api/v1/issues?cursor={MARK}"):
        api.client.get(path)
    wait_until(lambda: len(receiver.spans) == len(spans) + 2, 30, "the others' spans")
    assert {span.name for span in receiver.spans[-2:]} == {"GET", "GET /api/v1/issues"}
    password = make_url(servers.database_url).password or MARK
    assert not {text for text in (MARK, password) if text.encode() in b"".join(receiver.bodies)}


def test_retries_are_branches_of_the_same_trace_and_a_killed_process_loses_only_its_own(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, receiver: Receiver
) -> None:
    new_api(sent_to(receiver))
    new_worker({**sent_to(receiver), "WORKER_CONCURRENCY": "1"}, app=MISBEHAVING)
    job_id = database.add_job(TASK, how="transient", until=3, traceparent=PARENT.format(trace=TRACE))
    database.wait_for_states({"succeeded": 1})
    wait_until(lambda: len(receiver.named("misbehave")) == 3, 30, "three attempts")
    wait_until(lambda: len(receiver.named("publish issues")) == 3, 30, "the dispatcher's spans")

    attempts = sorted(receiver.named("misbehave"), key=lambda span: span.start_ns)
    assert [(span.attributes["attempt"], span.is_error) for span in attempts] == [
        (1, True),
        (2, True),
        (3, False),
    ]
    assert attempts[0].attributes["error.type"] == "Retry"
    assert {span.trace_id for span in attempts} == {TRACE}
    published = receiver.named("publish issues")
    assert {span.parent_id for span in published} == {"00f067aa0ba902b7"}
    assert {span.parent_id for span in attempts} == {span.span_id for span in published}
    assert database.job(job_id)["message"]["traceparent"] == PARENT.format(trace=TRACE), "as it was written"
    assert not any(span.events for span in receiver.spans), "an exception's message may hold an issue's text"

    add_traced(database, 2, how="exit", until=2)
    database.wait_for_states({"succeeded": 2})
    wait_until(lambda: len(receiver.named("publish issues")) == 5, 30, "the spans of the dispatcher")
    wait_until(lambda: len(receiver.named("misbehave")) == 4, 30, "the attempt after it")
    (after,) = [span for span in receiver.named("misbehave") if span.trace_id != TRACE]
    assert after.attributes["attempt"] == 2


def add_traced(database: Database, number: int, **fields: Any) -> None:
    database.add_job(TASK, traceparent=PARENT.format(trace=f"{number:032x}"), **fields)


def test_a_process_that_ends_sends_its_last_spans(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, receiver: Receiver
) -> None:
    # A span would wait here for longer than the test: only the end of its process sends it.
    settings = sent_to(receiver, OTEL_BSP_SCHEDULE_DELAY="600000", WORKER_CONCURRENCY="1")
    api, worker = (
        new_api(settings),
        new_worker({**settings, "TASKS_PER_CHILD": "2"}, app="tests.support.recycling_app"),
    )
    for number in (1, 2, 3):
        add_traced(database, number)
    database.wait_for_states({"succeeded": 3})

    # A process that is recycled after two tasks, a worker that is told to stop, an API that is told to stop.
    wait_until(lambda: len(receiver.named("misbehave")) == 2, 30, "the spans of the first process")
    worker.process.stop(60)
    assert len(receiver.named("misbehave")) == 3
    api.process.stop(60)
    assert len(receiver.named("publish issues")) == 3


def test_a_receiver_that_is_away_or_silent_holds_nothing_up(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database
) -> None:
    port = free_port()
    settings = {
        **SHORT,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_BSP_MAX_QUEUE_SIZE": "64",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16",
    }
    with socket.create_server(("127.0.0.1", port)):  # which accepts and never answers
        api, worker = new_api(settings), new_worker(settings)
        for number in range(1, 41):
            post(api, f"{number:032x}")
        database.wait_for_states({"succeeded": 40})
    post(api, f"{41:032x}")  # and now it is away
    database.wait_for_states({"succeeded": 41})

    worker.process.stop(60)
    api.process.stop(60)
    assert worker.process.exit_code == 0, "it was not killed for waiting"
    assert api.process.exit_code == -signal.SIGTERM, "which uvicorn raises again when all is done"
    for log in (api.log, worker.log):
        told = [line for line in log.lines if "trace_export_failed" in line]
        # One for each process; an API is one, a worker has two.
        assert len(told) <= 2, "\n".join(told)
        assert not [line for line in log.lines if "opentelemetry" in line or "urllib3" in line]


def test_a_receiver_that_comes_back_gets_what_follows(
    new_api: ApiFactory, receiver: Receiver, database: Database
) -> None:
    api = new_api(sent_to(receiver, OTEL_EXPORTER_OTLP_TIMEOUT="1"))
    receiver.status = 503
    post(api, f"{1:032x}")
    wait_until(lambda: api.log.has("trace_export_failed"), 30, "the API to notice")
    receiver.status = 200
    post(api, f"{2:032x}")
    wait_until(lambda: api.log.has("trace_export_resumed"), 30, "the API to notice again")
    assert receiver.trace(f"{2:032x}")


@pytest.mark.parametrize(("directory", "module"), [(API, "main"), (WORKER, "app.celery_app")])
def test_without_an_endpoint_nothing_of_the_sdk_is_loaded(servers: Servers, directory: Path, module: str) -> None:
    code = (
        f"import {module}, sys; print([name for name, found in sys.modules.items() if found and '.sdk' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=servers.env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
