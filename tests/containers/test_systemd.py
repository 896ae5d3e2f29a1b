"""The units of deploy/systemd on machines with systemd, and the example of Supervisor.

All tests share two machines and the servers, which require TLS. They run in order.
"""

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any
from uuid import uuid4

import httpx
import psycopg2
import pytest

from contracts import network
from contracts.names import Task
from tests.deploy.test_systemd import MAX_EXPOSURE
from tests.support.certificates import needs_openssl
from tests.support.database import Database
from tests.support.docker import needs_images
from tests.support.machine import (
    BROKER_URL,
    DATABASE_URL,
    PASSWORD,
    POSTGRES_IMAGE,
    REDIS_IMAGE,
    Machine,
    build,
    issue_certificates,
    read_lines,
    start_servers,
)
from tests.support.ports import free_port
from tests.support.processes import ROOT
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = [
    needs_openssl,
    needs_images("python:3.13-slim-trixie", POSTGRES_IMAGE, REDIS_IMAGE),
    pytest.mark.xdist_group("systemd"),
]

TARGET, API, EXPORTER, FLOWER = (f"issuetracker{name}" for name in (".target", "-api", "-exporter", "-flower"))
WORKER, INDEXER = "issuetracker-worker@issues", "issuetracker-worker@default"
NOTIFYING = (API, EXPORTER, WORKER, INDEXER)
SETTINGS = f"DATABASE_URL='{DATABASE_URL}'\nCELERY_BROKER_URL='{BROKER_URL}'\n"
ETC = "/etc/issuetracker"
SUPERVISOR = ROOT / "deploy/supervisor/issuetracker.conf"
ISSUE = {"title": "The button Save does nothing", "description": "A click on Save leaves the form as it was."}


@dataclass
class Site:
    """Two machines: the first one runs everything, the second one only a worker."""

    first: Machine
    second: Machine
    database: Database
    database_url: str
    api: httpx.Client

    def enrich(self) -> dict[str, Any]:
        """Post an issue, wait for its enrichment, and return the job."""
        created = self.api.post("/api/v1/issues", json=ISSUE)
        assert created.status_code == 201, created.text
        return self.wait_for_job(created.json()["id"], "succeeded")

    def job(self, issue_id: str) -> dict[str, Any]:
        columns = "SELECT state, attempts, worker FROM job"
        (job,) = self.database.query(f"{columns} WHERE issue_id = %s AND task = %s", issue_id, Task.ENRICH_ISSUE)
        return job

    def wait_for_job(self, issue_id: str, state: str) -> dict[str, Any]:
        wait_until(lambda: self.job(issue_id)["state"] == state, f"the job to be {state}")
        return self.job(issue_id)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    build()
    tls = tmp_path_factory.mktemp("tls")
    issue_certificates(tls)
    port = free_port()
    with start_servers(tls) as (servers, database_url):
        first = Machine("first", servers, f"--publish=127.0.0.1:{port}:{network.API_PORT}")
        second = Machine("second", servers)
        try:
            for machine in (first, second):
                wait_until(partial(is_booted, machine), "systemd")
                machine.trust(tls / "ca.crt")
            first.write(f"{ETC}/issuetracker.env", SETTINGS)
            # Only so that this process reaches the API.
            listen = f"[Socket]\nListenStream=\nListenStream=0.0.0.0:{network.API_PORT}\n"
            first.write("/etc/systemd/system/issuetracker-api.socket.d/listen.conf", listen)
            for unit in (API, INDEXER):
                # Shorter than the unit's own, and far above the 2 s between two heartbeats.
                first.write(f"/etc/systemd/system/{unit}.service.d/watchdog.conf", "[Service]\nWatchdogSec=15\n")
            first.systemctl("daemon-reload")
            first.systemctl("enable", "--now", TARGET)
            token = first.run("cat", f"{ETC}/api.env").removeprefix("ADMIN_TOKEN=")
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=DEADLINE_S) as api:
                yield Site(first, second, Database(database_url), database_url, api)
        finally:
            first.close()
            second.close()


def is_booted(machine: Machine) -> bool:
    # Parts of a machine, such as kernel modules, are missing in a container.
    return machine.systemctl("is-system-running", check=False) in {"running", "degraded"}


def is_restarted(machine: Machine, unit: str) -> bool:
    return machine.show(unit, "NRestarts") == "1" and machine.show(unit, "ActiveState") == "active"


def test_target_starts_all_units_after_the_migrations(site: Site) -> None:
    states = {unit: site.first.show(unit, "SubState") for unit in (*NOTIFYING, FLOWER, "issuetracker-migrate")}
    started = {unit: int(site.first.show(unit, "ExecMainStartTimestampMonotonic")) for unit in NOTIFYING}

    assert states == {**dict.fromkeys((*NOTIFYING, FLOWER), "running"), "issuetracker-migrate": "exited"}
    assert int(site.first.show("issuetracker-migrate", "ActiveEnterTimestampMonotonic")) <= started[API]
    wait_until(lambda: site.api.get(network.READINESS_PATH).json()["status"] == "ready", "the API to be ready")
    assert site.first.systemctl("is-enabled", TARGET) == "enabled"


def test_installed_units_are_valid_and_confined(site: Site) -> None:
    units = site.first.run("sh", "-c", "ls -d /etc/systemd/system/issuetracker*.service").splitlines()

    assert site.first.run("systemd-analyze", "verify", *units, f"/etc/systemd/system/{TARGET}") == ""
    for unit in units:
        site.first.run("systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", unit)


@pytest.mark.parametrize("unit", [*NOTIFYING, FLOWER])
def test_service_runs_confined(unit: str, site: Site) -> None:
    process = site.first.show(unit, "MainPID")
    lines = site.first.run("cat", f"/proc/{process}/status").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    assert int(status["Uid"][0]) >= 61184, "the range of dynamic users"
    assert {int(status[kind][0], 16) for kind in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    environment = site.first.run("cat", f"/proc/{process}/environ")
    assert ("ADMIN_TOKEN=" in environment) == (unit == API)
    assert ("DATABASE_URL=" in environment) == (unit != FLOWER)


def test_posted_issue_is_enriched_and_logged_as_json(site: Site) -> None:
    assert httpx.post(f"{site.api.base_url}/api/v1/issues", json=ISSUE, timeout=60).status_code == 401

    job = site.enrich()

    assert (job["state"], job["attempts"]) == ("succeeded", 1)
    assert job["worker"].startswith("issues@first/")

    def is_logged(unit: str, event: str) -> bool:
        return event in {line["event"] for line in read_lines(site.first.journal(unit))}

    # A process logs after it has responded or committed.
    wait_until(lambda: is_logged(API, "request_completed"), "the line of the API")
    wait_until(lambda: is_logged(WORKER, "job_completed"), "the line of the worker")


def test_api_restarted_under_posts_loses_and_refuses_none(site: Site) -> None:
    stop = Event()

    def post_until_stopped() -> list[str]:
        created = []
        while not stop.is_set():
            created.append(post_once(site, key=f"restart-{uuid4()}"))
        return created

    with ThreadPoolExecutor(2) as pool:
        posting = [pool.submit(post_until_stopped) for _ in range(2)]
        before = site.first.show(API, "MainPID")
        site.first.systemctl("restart", API)
        stop.set()
        created = {issue_id for future in posting for issue_id in future.result()}

    assert site.first.show(API, "MainPID") != before
    assert site.database.one("SELECT count(*) FROM issue WHERE title = 'During a restart'") == len(created) > 0


def post_once(site: Site, key: str) -> str:
    """Post an issue; repeat the request if the API closed the connection before it arrived. Return its id."""
    while True:
        try:
            created = site.api.post(
                "/api/v1/issues", json={"title": "During a restart"}, headers={"Idempotency-Key": key}
            )
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            continue
        assert created.status_code == 201, created.text
        return str(created.json()["id"])


def test_hung_services_are_restarted(site: Site) -> None:
    site.first.systemctl("kill", "--signal=STOP", "--kill-whom=main", API, INDEXER)

    for unit in (API, INDEXER):
        wait_until(partial(is_restarted, site.first, unit), f"a restart of {unit}")
    # Python logs where each thread was.
    wait_until(lambda: "most recent call first" in site.first.journal(INDEXER), "the stacks in the journal")


def test_stopped_worker_finishes_running_job(site: Site) -> None:
    with psycopg2.connect(site.database_url) as lock, lock.cursor() as cursor:
        # The job runs until it can write its result.
        cursor.execute("LOCK TABLE enrichment IN EXCLUSIVE MODE")
        issue_id = site.api.post("/api/v1/issues", json=ISSUE).json()["id"]
        site.wait_for_job(issue_id, "running")
        site.first.systemctl("stop", "--no-block", WORKER)
        wait_until(lambda: site.first.show(WORKER, "ActiveState") == "deactivating", "the stop of the worker")
    wait_until(lambda: site.first.show(WORKER, "ActiveState") == "inactive", "the end of the worker")

    assert site.first.show(WORKER, "Result") == "success"
    assert (site.job(issue_id)["state"], site.job(issue_id)["attempts"]) == ("succeeded", 1)
    site.first.systemctl("start", WORKER)


def test_redis_users_command_gives_each_service_its_own_user(site: Site) -> None:
    def cli(*arguments: str, stdin: str = "") -> str:
        redis = f"{site.first.name.removesuffix('first')}redis"
        options = ("-h", "redis", "--tls", "--cacert", "/tls/ca.crt", "-a", PASSWORD, "--no-auth-warning")
        command = ["docker", "exec", "--interactive", redis, "redis-cli", *options, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout.strip()

    url = f"rediss://{BROKER_URL.partition('@')[2]}"
    commands = site.first.run("/opt/issuetracker/deploy/systemd/redis-users", url)
    # The server of the test has no configuration file that it could rewrite.
    assert cli(stdin=commands.removesuffix("CONFIG REWRITE")).split() == ["OK"] * 4

    assert BROKER_URL in site.first.run("cat", f"{ETC}/issuetracker.env.old")

    site.first.systemctl("restart", API, EXPORTER, FLOWER, WORKER, INDEXER)

    site.enrich()
    expected = {"api", "default", "flower", "worker"}
    # Flower's unit has started before Flower has connected.
    wait_until(lambda: set(re.findall(r" user=(\w+)", cli("CLIENT", "LIST"))) == expected, "all services")
    assert cli("ACL", "LOG") == "", "a user was denied a command"
    for unit in (*NOTIFYING, FLOWER):
        assert f":{PASSWORD}@redis" not in site.first.run(
            "cat", f"/proc/{site.first.show(unit, 'MainPID')}/environ"
        )


def test_service_with_bad_setting_fails_once_and_names_it(site: Site) -> None:
    site.second.write(f"{ETC}/issuetracker.env", SETTINGS)
    site.second.write(f"{ETC}/worker-issues.env", "WORKER_CONCURRENCY=none\n")

    site.second.systemctl("start", WORKER, check=False)

    assert site.second.show(WORKER, "ActiveState") == "failed"
    assert site.second.show(WORKER, "NRestarts") == "0"
    wait_until(lambda: "WORKER_CONCURRENCY" in site.second.journal(WORKER), "the reason in the journal")


def test_worker_on_second_machine_with_credentials_runs_jobs(site: Site) -> None:
    site.first.systemctl("stop", WORKER)
    site.second.write(f"{ETC}/issuetracker.env", f"CELERY_BROKER_URL='{BROKER_URL}'\n")
    site.second.write(f"{ETC}/worker-issues.env", "METRICS_PORT=9809\n")
    site.second.write(f"{ETC}/DATABASE_URL", DATABASE_URL)
    credential = f"[Service]\nLoadCredential=DATABASE_URL:{ETC}/DATABASE_URL\n"
    site.second.write(f"/etc/systemd/system/{WORKER}.service.d/secrets.conf", credential)
    site.second.systemctl("daemon-reload")

    site.second.systemctl("enable", "--now", WORKER)

    assert site.enrich()["worker"].startswith("issues@second/")
    assert site.second.show("issuetracker-migrate", "ActiveState") == "inactive"
    site.second.systemctl("disable", "--now", WORKER)


def test_supervisor_example_runs_all_programs(site: Site) -> None:
    """On the second machine, beside the API and the other units of the first one."""
    second = site.second
    second.write(f"{ETC}/issuetracker.env", SETTINGS)
    second.run("useradd", "--system", "issuetracker")
    second.run("sh", "-c", f"chgrp -R issuetracker {ETC} && chmod 750 {ETC} && chmod 640 {ETC}/*.env")
    second.run("cp", f"/opt/issuetracker/{SUPERVISOR.relative_to(ROOT)}", "/etc/supervisor/conf.d/")

    second.run("supervisorctl", "update")

    programs = re.findall(r"^\[program:(.+)\]$", SUPERVISOR.read_text(), re.MULTILINE)

    def states() -> dict[str, str]:
        lines = second.run("supervisorctl", "status", check=False).splitlines()
        return {name: state for name, state, *_ in (line.split() for line in lines)}

    wait_until(lambda: states() == dict.fromkeys(programs, "RUNNING"), lambda: f"all programs, not {states()}")
    assert site.enrich()["worker"].startswith("issues@second/")
    site.first.systemctl("start", WORKER)


def test_target_stops_all_units(site: Site) -> None:
    site.first.systemctl("stop", TARGET)

    def list_units() -> str:
        states = "--state=active,activating,deactivating,failed"
        return site.first.systemctl("list-units", "--plain", "--no-legend", states, "issuetracker*")

    wait_until(lambda: not list_units(), "all units to stop")
    with pytest.raises(httpx.TransportError):
        site.api.get(network.LIVENESS_PATH)
