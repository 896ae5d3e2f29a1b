"""Traces of real processes, received by a real OTLP receiver."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.idle import wait_idle
from tests.support.otlp import Receiver, tree
from tests.support.ports import free_port
from tests.support.processes import API, WORKER, Api
from tests.support.servers import Servers
from tests.support.tasks import TASK
from tests.support.waiting import DEADLINE_S, wait_until

MISBEHAVING = "tests.support.misbehaving_app"
SHORT = {"RETRY_DELAYS": "0.1,0.1,0.1", "DISPATCH_POLL_SECONDS": "0.1"}
MARKER = "Zyzzyva"
PARENT = "00-{trace}-00f067aa0ba902b7-01"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def trace_settings(receiver: Receiver, **more: str) -> dict[str, str]:
    return {**SHORT, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100", **more}


def post_traced_issue(api: Api, trace_id: str, title: str = "The page is empty") -> str:
    """Post an issue with a traceparent header."""
    headers = {"traceparent": PARENT.format(trace=trace_id), "X-Request-ID": f"request-{trace_id[:4]}"}
    response = api.client.post("/api/v1/issues?secret=" + MARKER, json={"title": title}, headers=headers)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def test_post_to_index_is_one_trace(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, receiver: Receiver, servers: Servers
) -> None:
    api = new_api(trace_settings(receiver))
    new_worker(trace_settings(receiver))
    for path in ("/livez", "/readyz", "/metrics"):
        api.client.get(path)
    issue_id = post_traced_issue(api, TRACE, f"{MARKER} is on fire")
    wait_until(lambda: database.one("SELECT count(*) FROM issue_search") == 1, "the issue to be indexed")

    # Each process exports its own spans, children before their parents.
    last = ("POST /api/v1/issues", "publish issues", "publish default", "enrich_issue", "index_issue")
    wait_until(lambda: all(receiver.named(name) for name in last), f"the spans {last}")
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
    assert receiver.traces() == {TRACE}, "probes and polling loops must not create traces"

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

    for path in (f"/{MARKER}", f"/api/v1/issues?cursor={MARKER}"):
        api.client.get(path)
    wait_until(lambda: len(receiver.spans) >= len(spans) + 2, "the spans of both requests")
    assert {span.name for span in receiver.spans if span.trace_id != TRACE} == {"GET", "GET /api/v1/issues"}
    assert len(receiver.spans) == len(spans) + 2
    password = make_url(servers.database_url).password or MARKER
    assert not {text for text in (MARKER, password) if text.encode() in b"".join(receiver.bodies)}


def test_retries_share_trace_and_killed_process_loses_only_its_spans(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, receiver: Receiver
) -> None:
    new_api(trace_settings(receiver))
    new_worker({**trace_settings(receiver), "WORKER_CONCURRENCY": "1"}, app=MISBEHAVING)
    job_id = database.add_job(TASK, how="transient", until=3, traceparent=PARENT.format(trace=TRACE))
    database.wait_for_states({"succeeded": 1})
    wait_until(lambda: len(receiver.named("misbehave")) == 3, "three attempts")
    wait_until(lambda: len(receiver.named("publish issues")) == 3, "the spans of the dispatcher")

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
    assert database.job(job_id)["message"]["traceparent"] == PARENT.format(trace=TRACE), (
        "the stored traceparent must be unchanged"
    )
    assert not any(span.events for span in receiver.spans), (
        "spans must not contain exception messages, which may contain text of an issue"
    )

    add_traced_job(database, 2, how="exit", until=2)
    database.wait_for_states({"succeeded": 2})
    wait_until(lambda: len(receiver.named("publish issues")) == 5, "the spans of the dispatcher")
    wait_until(lambda: len(receiver.named("misbehave")) == 4, "the second attempt")
    (after,) = [span for span in receiver.named("misbehave") if span.trace_id != TRACE]
    assert after.attributes["attempt"] == 2


def add_traced_job(database: Database, number: int, **fields: Any) -> None:
    database.add_job(TASK, traceparent=PARENT.format(trace=f"{number:032x}"), **fields)


def test_process_at_exit_exports_last_spans(
    servers: Servers, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, receiver: Receiver
) -> None:
    # The export delay is longer than the test, so only the end of a process exports its spans.
    settings = trace_settings(receiver, OTEL_BSP_SCHEDULE_DELAY="600000", WORKER_CONCURRENCY="1")
    api, worker = (
        new_api(settings),
        new_worker({**settings, "TASKS_PER_CHILD": "2"}, app="tests.support.recycling_app"),
    )
    for number in (1, 2, 3):
        add_traced_job(database, number)
    database.wait_for_states({"succeeded": 3})

    # The ends: a process recycled after two tasks, a stopped worker and a stopped API.
    wait_until(lambda: len(receiver.named("misbehave")) == 2, "the spans of the first process")
    wait_idle(servers)
    worker.process.stop(DEADLINE_S)
    assert len(receiver.named("misbehave")) == 3
    api.process.stop(DEADLINE_S)
    assert len(receiver.named("publish issues")) == 3


def test_missing_or_silent_receiver_does_not_delay_jobs(
    servers: Servers, new_api: ApiFactory, new_worker: WorkerFactory, database: Database
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
    with socket.create_server(("127.0.0.1", port)):  # accepts connections and never responds
        api, worker = new_api(settings), new_worker(settings)
        for number in range(1, 41):
            post_traced_issue(api, f"{number:032x}")
        database.wait_for_states({"succeeded": 40})
    post_traced_issue(api, f"{41:032x}")  # the receiver is down now
    database.wait_for_states({"succeeded": 41})

    wait_idle(servers)
    worker.process.stop(DEADLINE_S)
    api.process.stop(DEADLINE_S)
    assert worker.process.exit_code == 0, "the worker must exit by itself"
    assert api.process.exit_code == -signal.SIGTERM, "uvicorn raises the signal again after a clean shutdown"
    for log in (api.log, worker.log):
        failures = [line for line in log.lines if "trace_export_failed" in line]
        # One line per process. An API has one process and a worker has two.
        assert len(failures) <= 2, "\n".join(failures)
        assert not [line for line in log.lines if "opentelemetry" in line or "urllib3" in line]


def test_receiver_after_outage_gets_new_spans(new_api: ApiFactory, receiver: Receiver, database: Database) -> None:
    api = new_api(trace_settings(receiver, OTEL_EXPORTER_OTLP_TIMEOUT="1"))
    receiver.status = 503
    post_traced_issue(api, f"{1:032x}")
    wait_until(lambda: api.log.has("trace_export_failed"), "the API to log the failure")
    receiver.status = 200

    def is_resumed() -> bool:
        # On a busy machine, an export may take longer than its timeout of one second.
        post_traced_issue(api, f"{2:032x}")
        return api.log.has("trace_export_resumed")

    wait_until(is_resumed, "the API to log the recovery")
    wait_until(lambda: bool(receiver.trace(f"{2:032x}")), "the spans of the second request")


@pytest.mark.parametrize(("directory", "module"), [(API, "main"), (WORKER, "app.celery_app")])
def test_program_without_endpoint_does_not_load_sdk(servers: Servers, directory: Path, module: str) -> None:
    code = (
        f"import {module}, sys; print([name for name, found in sys.modules.items() if found and '.sdk' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=servers.env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
