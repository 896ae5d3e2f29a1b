"""The autoscaler follows the ledger, against an API server that enforces the Role of the component."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from contracts.names import QUEUE_OF, Queue, Task
from devstack.process import Process
from tests.support.api_server import ApiServer
from tests.support.certificates import issue, needs_openssl
from tests.support.database import Database
from tests.support.forked import ForkedProcess
from tests.support.manifests import K8S
from tests.support.ports import free_port
from tests.support.processes import API
from tests.support.servers import Log, Servers
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = needs_openssl

PREFIX = "/apis/apps/v1/namespaces/issuetracker/deployments/"


class ScaleServer(ApiServer):
    """Stores the number of pods of each Deployment, and allows only what the Role allows."""

    def __init__(self, directory: Path, pods: dict[str, int]) -> None:
        super().__init__(directory, ("127.0.0.1", 0), Handler)
        self.pods = pods
        self.rejected: list[str] = []
        self.answer = b""
        """A body to answer with, instead of the scale."""
        objects = yaml.safe_load_all((K8S / "components/autoscaler/autoscaler.yaml").read_text())
        (self.role,) = next(item for item in objects if item["kind"] == "Role")["rules"]


class Handler(BaseHTTPRequestHandler):
    """Responds to `get` and `patch` of `deployments/scale`."""

    server: ScaleServer

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Log nothing."""

    def _respond(self, verb: str) -> None:
        name, _, part = self.path.removeprefix(PREFIX).partition("/")
        role = self.server.role
        is_allowed = (
            self.path.startswith(PREFIX)
            and (verb in role["verbs"], f"deployments/{part}" in role["resources"]) == (True, True)
            and name in role["resourceNames"]
            and self.headers["Authorization"] == "Bearer of-the-pod"
        )
        if not is_allowed:
            self.server.rejected.append(f"{verb} {self.path}")
            self.send_error(403)
            return
        if verb == "patch":
            assert self.headers["Content-Type"] == "application/merge-patch+json"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.pods[name] = body["spec"]["replicas"]
        scale = json.dumps({"kind": "Scale", "spec": {"replicas": self.server.pods[name]}}).encode()
        raw = self.server.answer or scale
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:
        self._respond("get")

    def do_PATCH(self) -> None:
        self._respond("patch")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ScaleServer]:
    issue(tmp_path, "ca", ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyCertSign"))
    issue(tmp_path, "server", ("subjectAltName=IP:127.0.0.1",), "ca")
    (tmp_path / "token").write_text("of-the-pod")
    (tmp_path / "namespace").write_text("issuetracker")
    with ScaleServer(tmp_path, {f"worker-{queue}": 1 for queue in Queue}) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def start_autoscaler(
    servers: Servers, cluster: ScaleServer, directory: Path, log: Log, **settings: str
) -> Process:
    env = {
        **servers.env,
        **settings,
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(cluster.server_port),
        "SERVICE_ACCOUNT": str(directory),
        "TMPDIR": str(directory),
    }
    return ForkedProcess("autoscaler", [sys.executable, "-m", "api.autoscaler"], log, cwd=API, env=env)


def test_workers_are_scaled_by_due_and_running_jobs(
    servers: Servers, database: Database, cluster: ScaleServer, tmp_path: Path
) -> None:
    task = Task.ENRICH_ISSUE
    assert QUEUE_OF[task] is Queue.ISSUES
    assert set(cluster.role["resourceNames"]) == set(cluster.pods)
    jobs = [database.add_job(task) for _ in range(7)]
    database.query("UPDATE job SET state = 'running', lease_until = now() WHERE id = %s", jobs[0])
    database.query("UPDATE job SET run_at = now() + interval '1 h' WHERE id = %s", jobs[1])
    database.query("UPDATE job SET state = 'succeeded' WHERE id = %s", jobs[2])
    log = Log()

    process = start_autoscaler(servers, cluster, tmp_path, log)
    try:
        # Five jobs, two per pod.
        wait_until(lambda: cluster.pods["worker-issues"] == 3, lambda: f"three pods\n{log}")
        wait_until((tmp_path / "alive").exists, lambda: f"the liveness file\n{log}")
    finally:
        process.send(signal.SIGTERM)

    assert process.wait(DEADLINE_S) == 0, str(log)
    assert cluster.pods == {"worker-issues": 3, "worker-default": 1}
    assert cluster.rejected == []
    assert log.has("deployment_scaled")


def test_queue_without_permission_and_jobs_of_open_circuit_or_pause_do_not_affect_others(
    servers: Servers, database: Database, cluster: ScaleServer, tmp_path: Path
) -> None:
    waiting = ((Task.INDEX_ISSUE, 8), (Task.RETRAIN, 8))
    for task, number in ((Task.ENRICH_ISSUE, 8), *waiting, (Task.DELIVER_WEBHOOK, 6)):
        for _ in range(number):
            database.add_job(task, QUEUE_OF[task])
    database.query(
        "INSERT INTO circuit (task, provider, failures, last_error, open_until) "
        "VALUES (%s, 'a provider', 5, 'refused', now() + interval '1 h')",
        Task.INDEX_ISSUE,
    )
    database.pause("task", Task.RETRAIN)
    cluster.role["resourceNames"].remove("worker-issues")
    log = Log()

    process = start_autoscaler(servers, cluster, tmp_path, log)
    try:
        wait_until((tmp_path / "alive").exists, lambda: f"the first round\n{log}")
    finally:
        process.send(signal.SIGTERM)

    assert process.wait(DEADLINE_S) == 0
    assert cluster.pods == {"worker-issues": 1, "worker-default": 3}
    assert log.has("scaling_paused", "worker-issues: the API server returned 403")


def test_autoscaler_without_postgresql_or_with_bad_answers_keeps_running(
    servers: Servers, database: Database, cluster: ScaleServer, tmp_path: Path
) -> None:
    database.add_job(Task.ENRICH_ISSUE)
    log, other_log = Log(), Log()
    cluster.answer = b"[]"
    away = f"postgresql://issuetracker@127.0.0.1:{free_port()}/IssueTracker"

    bad_answers = start_autoscaler(servers, cluster, tmp_path, log)
    no_database = start_autoscaler(servers, cluster, tmp_path, other_log, DATABASE_URL=away)
    try:
        wait_until(lambda: log.has("scaling_paused", "returned no scale: []"), lambda: f"the reason\n{log}")
        wait_until(lambda: other_log.has("scaling_paused", "Connect"), lambda: f"the reason\n{other_log}")
        wait_until((tmp_path / "alive").exists, lambda: f"the liveness file\n{log}")
    finally:
        for process in (bad_answers, no_database):
            process.send(signal.SIGTERM)

    assert [process.wait(DEADLINE_S) for process in (bad_answers, no_database)] == [0, 0]
    assert not log.has("Traceback")
    assert not other_log.has("Traceback")


def test_autoscaler_outside_of_a_cluster_prints_one_line_and_exits_with_2(tmp_path: Path) -> None:
    log = Log()
    env = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES_")}
    env["SERVICE_ACCOUNT"] = str(tmp_path)

    process = ForkedProcess("autoscaler", [sys.executable, "-m", "api.autoscaler"], log, cwd=API, env=env)

    assert process.wait(DEADLINE_S) == 2
    (line,) = log.lines
    assert "autoscaler: it runs only in a pod with a service account" in line
