"""The built images in a separate compose project.

All tests share the project and run in order. Each test leaves all services running.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.test_compose import SECRETS
from tests.support.docker import docker, log, needs_compose, needs_images
from tests.support.operations import COMPOSE_PAGES, commands
from tests.support.ports import free_port
from tests.support.processes import ROOT
from tests.support.promql import PROMETHEUS_IMAGE, alerts
from tests.support.waiting import wait_until

pytestmark = [
    needs_compose,
    needs_images("python:3.13-slim-trixie", "pgvector/pgvector:pg17", "redis:8"),
    pytest.mark.xdist_group("compose"),
]
PROXY, PROMETHEUS = "nginx:stable", PROMETHEUS_IMAGE
AUTH = ("admin", SECRETS["FLOWER_PASSWORD"])
UP_TIMEOUT_S = 180
PORTS = ("API_PORT", "API_DEV_PORT", "FLOWER_PORT", "PROXY_PORT", "PROMETHEUS_PORT")


class Project:
    """A compose project with its own name, free ports and test passwords."""

    def __init__(self) -> None:
        self.ports = {name: free_port() for name in PORTS}
        self.env = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "ISSUETRACKER_VERSION") if name in os.environ},
            **SECRETS,
            **{name: str(port) for name, port in self.ports.items()},
            "COMPOSE_PROJECT_NAME": f"issuetracker-test-{self.ports['API_PORT']}",
            "LEASE_SECONDS": "15",
            "RETRY_DELAYS": "1,1,1",
            "PROMETHEUS_IMAGE": PROMETHEUS,
        }
        headers = {"Authorization": f"Bearer {SECRETS['ADMIN_TOKEN']}"}
        self.api = httpx.Client(base_url=self.url("API_PORT"), headers=headers, timeout=120)

    def wait_healthy(self) -> None:
        """Wait until the doctor reports no problem. The next heartbeat of a worker comes within seconds."""
        wait_until(
            lambda: self._run("issuetracker doctor").returncode == 0, lambda: self.command("issuetracker doctor")
        )

    def command(self, line: str, code: int = 0) -> str:
        """Run a command of an operator in the directory of the project."""
        done = self._run(line)
        assert done.returncode == code, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def _run(self, line: str) -> subprocess.CompletedProcess[str]:
        env = {
            **self.env,
            "COMPOSE_FILE": "compose.yaml:tests/support/compose.yaml",
            "COMPOSE_ENV_FILES": "/dev/null",
            "ISSUETRACKER_URL": self.url("API_PORT"),
            "ISSUETRACKER_TOKEN": SECRETS["ADMIN_TOKEN"],
            "PATH": f"{Path(sys.executable).parent}:{self.env['PATH']}",
        }
        line = line.replace("http://127.0.0.1:8000", self.url("API_PORT"))
        return subprocess.run(
            ["bash", "-c", line],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def compose(self, *arguments: str, **env: str) -> str:
        files = ("--env-file", "/dev/null", "-f", "compose.yaml", "-f", "tests/support/compose.yaml")
        done = subprocess.run(
            ["docker", "compose", *files, *arguments],
            cwd=ROOT,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}\n{self._logs(files)}"
        return done.stdout.strip()

    def _logs(self, files: tuple[str, ...]) -> str:
        command = ["docker", "compose", *files, "logs", "--tail=40"]
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False).stdout

    def up(self, workers: int = 1) -> None:
        scale = f"worker-issues={workers}"
        self.compose("up", "--detach", "--wait", f"--wait-timeout={UP_TIMEOUT_S}", "--scale", scale)

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--all", "--quiet", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        (found,) = json.loads(docker("inspect", container))
        return dict(found)

    def sql(self, query: str) -> str:
        psql = ("psql", "--username=postgres", "--no-psqlrc", "-At", "IssueTracker", "-c", query)
        return self.compose("exec", "-T", "postgres", *psql)

    def jobs(self, title_prefix: str, column: str) -> list[str]:
        """Return one column of the enrichment jobs of issues with this title prefix."""
        return self.sql(
            f"SELECT job.{column} FROM job JOIN issue ON issue.id = job.issue_id "
            f"WHERE job.task LIKE '%.enrich_issue' AND issue.title LIKE '{title_prefix} %'"
        ).splitlines()

    def post(self, title_prefix: str, number: int) -> None:
        """Post `number` issues. Repeat each until the API returns 201, because a server may be down."""

        def item(index: int) -> None:
            body = {
                "title": f"{title_prefix} {index}: the button Save does nothing",
                "description": f"Since 2.{index} a click on Save leaves the form as it was. No error is shown.",
            }
            wait_until(lambda: self._is_accepted(body), f"a 201 for {body['title']}")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(item, range(number)))

    def _is_accepted(self, body: dict[str, str]) -> bool:
        try:
            return self.api.post("/api/v1/issues", json=body).status_code == 201
        except httpx.TransportError:
            return False

    def wait_enriched(self, title_prefix: str, number: int) -> None:
        """Wait until `number` issues with this title prefix have a summary."""
        enriched = f"title LIKE '{title_prefix} %' AND ai_summary LIKE 'AI Summary: %'"
        query = f"SELECT count(DISTINCT title) FROM issue WHERE {enriched}"
        wait_until(lambda: self._sql_or_none(query) == str(number), f"{number} enriched of {title_prefix}")

    def _sql_or_none(self, query: str) -> str | None:
        time.sleep(0.5)  # each query starts a process in the container
        try:
            return self.sql(query)
        except AssertionError:
            return None  # the server is down


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    project = Project()
    project.compose("build", "--quiet")
    try:
        project.up()
        yield project
    finally:
        project.compose("--profile", "*", "down", "--volumes", "--timeout=5")


def test_services_after_up_are_healthy(project: Project) -> None:
    states = [json.loads(line) for line in project.compose("ps", "--all", "--format", "json").splitlines()]

    health = {state["Service"]: state["Health"] or state["ExitCode"] for state in states}
    assert health == {
        **dict.fromkeys(["secrets", "roles", "migrate"], 0),
        **dict.fromkeys(["postgres", "redis", "api", "worker-issues", "worker-default", "flower"], "healthy"),
    }
    assert project.api.get("/readyz").json()["status"] == "ready"


def test_api_without_token_returns_401(project: Project) -> None:
    url = f"{project.url('API_PORT')}/api/v1/issues"
    assert httpx.post(url, json={"title": "t"}, timeout=60).status_code == 401
    assert project.api.get("/api/v1/session").json()["name"] == "admin-token"


def test_500_issues_are_enriched_once(project: Project) -> None:
    project.post("Batch", 500)

    project.wait_enriched("Batch", 500)
    runs = "SELECT count(*), count(DISTINCT issue_id) FROM enrichment JOIN issue ON issue.id = issue_id"
    assert project.sql(f"{runs} WHERE title LIKE 'Batch %'") == "500|500"


def test_scaled_workers_share_jobs(project: Project) -> None:
    project.up(workers=3)
    project.post("Shared", 150)
    project.wait_enriched("Shared", 150)

    assert len({worker.split("/")[0] for worker in project.jobs("Shared", "worker")}) == 3


def test_killed_worker_loses_no_job(project: Project) -> None:
    project.post("Killed", 150)
    docker("kill", project.containers("worker-issues")[0])
    project.wait_enriched("Killed", 150)

    project.up(workers=1)


@pytest.mark.parametrize("server", ["redis", "postgres"])
def test_restarted_server_loses_no_job(server: str, project: Project) -> None:
    before = [
        project.inspect(container)["State"]["StartedAt"] for container in project.containers("worker-issues")
    ]
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(project.post, f"During a restart of {server}", 150)
        wait_until(lambda: bool(project.jobs("During a restart", "state")), "the first issue")
        project.compose("restart", server)
        posting.result()
    project.wait_enriched(f"During a restart of {server}", 150)

    after = [project.inspect(container)["State"]["StartedAt"] for container in project.containers("worker-issues")]
    assert after == before, "no worker may restart"


def test_stopped_worker_finishes_running_job(project: Project) -> None:
    title = {"title": "Takes 20 s"}
    assert project.api.post("/api/v1/issues", json=title).status_code == 201
    wait_until(lambda: project.jobs("Takes", "state") == ["running"], "the long task to run")
    project.post("Behind it", 20)
    (container,) = project.containers("worker-issues")
    lost = project.sql("SELECT error FROM job_failure WHERE kind = 'lost'")

    project.compose("stop", "worker-issues")

    state = project.inspect(container)["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    assert "Warm shutdown" in log(container)
    assert project.jobs("Takes", "state") == ["succeeded"]
    assert "running" not in project.jobs("Behind it", "state")
    project.up()
    project.wait_enriched("Behind it", 20)
    assert project.jobs("Takes", "attempts") == ["1"]
    assert project.sql("SELECT error FROM job_failure WHERE kind = 'lost'") == lost


def test_data_after_down_and_up_is_complete(project: Project) -> None:
    project.post("Before down", 100)
    issues = project.sql("SELECT count(*) FROM issue")

    project.compose("down")
    project.up()

    assert project.sql("SELECT count(*) FROM issue") == issues
    project.wait_enriched("Before down", 100)
    # An issue whose response was lost was posted again, so its title has two jobs.
    states = "SELECT DISTINCT state FROM job WHERE queue = 'issues'"
    wait_until(lambda: project.sql(states) == "succeeded", lambda: f"all jobs, not {project.sql(states)}")
    assert project.sql("SELECT count(*) FROM issue WHERE ai_summary IS NULL") == "0"


def test_flower_requires_password_and_shows_workers_and_tasks(project: Project) -> None:
    url = project.url("FLOWER_PORT")
    project.post("Seen in Flower", 1)
    assert httpx.get(f"{url}/", timeout=60).status_code == 401
    assert "Flower" in httpx.get(f"{url}/workers", auth=AUTH, timeout=60).text

    def task() -> dict[str, Any]:
        table = {"draw": "1", "start": "0", "length": "20", "order[0][column]": "0", "order[0][dir]": "desc"}
        query = {**table, "columns[0][data]": "received"}
        rows: list[dict[str, Any]] = httpx.get(
            f"{url}/tasks/datatable", params=query, auth=AUTH, timeout=60
        ).json()["data"]
        # The list also contains the index job of the issue.
        return next((row for row in rows if row["name"] == "app.tasks.issues.enrich_issue"), {})

    wait_until(lambda: task().get("state") == "SUCCESS", "the task to succeed in Flower")
    assert task()["kwargs"].startswith("issue_id=")
    assert "Save" not in json.dumps(task())
    assert httpx.post(f"{url}/api/worker/shutdown/{task()['worker']}", auth=AUTH, timeout=60).status_code == 403


def test_services_connect_to_redis_as_their_own_users(project: Project) -> None:
    def cli(*command: str) -> str:
        return project.compose("exec", "-T", "redis", "redis-cli", *command)

    expected = {"api", "default", "flower", "worker"}
    wait_until(lambda: set(re.findall(r" user=(\w+)", cli("CLIENT", "LIST"))) == expected, "all services")
    assert cli("ACL", "LOG") == "", "a user was denied a command"


@needs_images(PROXY)
def test_flower_behind_reverse_proxy_is_served_under_prefix(project: Project) -> None:
    up = ("--profile", "proxy", "up", "--detach", "--wait", "flower", "proxy")
    project.compose(*up, FLOWER_URL_PREFIX="flower")
    with httpx.Client(base_url=project.url("PROXY_PORT"), timeout=60) as client:
        wait_until(lambda: client.get("/flower/").status_code == 401, "Flower to respond behind the proxy")
        assert client.get("/flower").headers["location"].endswith("/flower/")
        page = client.get("/flower/workers", auth=AUTH)
        assert page.status_code == 200
        assert client.get("/flower/static/js/flower.js", auth=AUTH).status_code == 200
        assert "/flower/static/" in page.text
        for path in ("metrics", "healthcheck", "metrics/", "metrics?x"):
            assert client.get(f"/flower/{path}", auth=AUTH).status_code == 404
        assert client.get("/metrics").status_code == 404
    project.up()


def test_runbook_commands_succeed(project: Project) -> None:
    """Run the read-only commands. The tests below run the others."""
    lines = {line for page in COMPOSE_PAGES for line in commands(page, read_only=True)}
    # Grafana does not run in this project.
    read_only_commands = {line for line in lines if "exec grafana" not in line}
    assert len(read_only_commands) > 30
    project.wait_healthy()
    for line in sorted(read_only_commands):
        project.command(line)


def test_restored_backup_enriches_pending_issues(project: Project, tmp_path: Path) -> None:
    services = "api worker-issues worker-default exporter"
    project.command("docker compose stop worker-issues")
    project.post("Pending in the backup", 20)
    dump = tmp_path / "all.dump"
    assert "the database now has " in project.command(f"deploy/backup save {dump}")
    project.post("After the backup", 1)
    assert "connections to the database" in project.command(f"deploy/backup restore {dump} --replace", code=2)

    project.command(f"docker compose stop {services}")
    assert "not empty" in project.command(f"deploy/backup restore {dump}", code=2)
    project.command(f"deploy/backup restore {dump} --replace")
    project.command("docker compose exec redis redis-cli FLUSHALL")
    project.up()

    project.wait_enriched("Pending in the backup", 20)
    assert project.jobs("After the backup", "state") == []
    project.wait_healthy()


def test_redis_with_deleted_data_loses_no_job(project: Project) -> None:
    project.command("docker compose stop redis")
    assert "RedisDown.md" in project.command("issuetracker doctor", code=12)
    project.post("While Redis is away", 5)
    project.command("docker compose run --rm redis sh -c 'rm -r /data/appendonlydir'")
    project.command("docker compose up --wait redis")

    project.wait_enriched("While Redis is away", 5)


@needs_images(PROMETHEUS)
def test_prometheus_targets_are_up(project: Project) -> None:
    project.compose("--profile", "observability", "up", "--detach", "--wait", "exporter", "prometheus")

    def up() -> list[tuple[str, str]]:
        response = httpx.get(f"{project.url('PROMETHEUS_PORT')}/api/v1/query", params={"query": "up"}, timeout=60)
        return sorted((found["metric"]["job"], found["value"][1]) for found in response.json()["data"]["result"])

    project.up(workers=2)
    jobs = ("api", "exporter", "flower", "prometheus", "worker-default", "worker-issues", "worker-issues")
    wait_until(lambda: up() == [(job, "1") for job in jobs], "all targets to be up")
    project.up(workers=1)


@needs_images(PROMETHEUS)
def test_prometheus_rules_are_evaluated_and_alert(project: Project) -> None:
    project.compose("--profile", "observability", "up", "--detach", "--wait", "exporter", "prometheus")
    prometheus = httpx.Client(base_url=f"{project.url('PROMETHEUS_PORT')}/api/v1", timeout=60)

    def query(expression: str) -> dict[str, str]:
        """Return the values by their first label, such as `job`."""
        found = prometheus.get("/query", params={"query": expression}).json()["data"]["result"]
        return {next(iter(item["metric"].values()), ""): item["value"][1] for item in found}

    jobs = ("api", "worker-issues", "worker-default", "exporter", "flower", "prometheus")
    expected = dict.fromkeys(jobs, "1")
    wait_until(lambda: query("sum by (job) (up)") == expected, lambda: f"all targets, not {query('up')}")
    rules = [rule for group in prometheus.get("/rules").json()["data"]["groups"] for rule in group["rules"]]
    wait_until(lambda: query("sum(issuetracker_redis_up)") == {"": "1"}, "the metrics of the exporter")
    consuming = "sum by (queue) (issuetracker_worker_consuming)"
    wait_until(lambda: query(consuming) == {"issues": "1", "default": "1"}, "the metrics of the workers")
    enriched = "sum(issuetracker_issue_enriched_seconds_count)"
    wait_until(lambda: float(query(enriched).get("", 0)) > 0, "the count of enriched issues")
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == {item["alert"] for item in alerts()}
    assert not [rule["lastError"] for rule in rules if rule.get("lastError")]

    project.command("docker compose stop redis")

    def is_seen() -> bool:
        """Return whether the alert is pending. It fires after one minute, which the rule tests cover."""
        return "RedisDown" in {
            alert["labels"]["alertname"] for alert in prometheus.get("/alerts").json()["data"]["alerts"]
        }

    try:
        wait_until(is_seen, "RedisDown to be pending")
    finally:
        project.command("docker compose up --wait redis")
    wait_until(lambda: query("sum(issuetracker_worker_consuming)") == {"": "2"}, "the workers to consume again")


def test_development_services_reload_after_source_change(project: Project) -> None:
    project.compose("up", "--detach", "--wait", "api-dev", "worker-dev")

    def is_reloading(service: str, file: str, line: str) -> bool:
        """Touch the file again, because a service may not watch its files yet."""
        (ROOT / "services" / file).touch()
        return line in log(service)

    def log(service: str) -> str:
        return project.compose("logs", "--no-log-prefix", service)

    wait_until(lambda: is_reloading("api-dev", "api/api/app.py", "Reloading"), "the API to reload")
    change = "reload: a file has changed"
    wait_until(lambda: is_reloading("worker-dev", "worker/app/celery_app.py", change), "the worker to reload")
    wait_until(lambda: log("worker-dev").count(" ready.") >= 2, "the worker to be ready again")
