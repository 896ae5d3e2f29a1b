"""The compose files against the compose specification, the contracts, and the rules that they are to keep."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.settings import ApiSettings
from app.settings import WorkerSettings
from contracts import network
from contracts.names import Queue
from tests.support.docker import needs_compose
from tests.support.processes import ROOT, tool

SECRETS = {
    name: f"{name.lower()}-of-the-test"
    for name in (
        "POSTGRES_SUPERUSER_PASSWORD",
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "FLOWER_PASSWORD",
        "GRAFANA_PASSWORD",
        "ADMIN_TOKEN",
    )
}
SECRETS["ADMIN_TOKEN"] += "-and-long-enough"
OURS = {"migrate", "api", "worker-issues", "worker-default", "flower"}
DEVELOPMENT = {"api-dev", "worker-dev"}
OBSERVABILITY = {"exporter", "prometheus", "grafana"}
COMPOSE_FILES = [
    ROOT / "compose.yaml",
    *(file for file in (ROOT / "deploy/compose").glob("*.yaml")),
]


def compose_config(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "compose", "--env-file", "/dev/null", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    done = compose_config(SECRETS, "--profile", "*", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    rendered: dict[str, Any] = json.loads(done.stdout)
    return rendered


@pytest.fixture(scope="module")
def services(project: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = project["services"]
    return found


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: file.name)
def test_the_compose_specification(file: Path) -> None:
    subprocess.run([tool("check-jsonschema"), "--builtin-schema", "compose-spec", str(file)], check=True)


@needs_compose
class TestRendered:
    def test_what_there_is(self, services: dict[str, Any]) -> None:
        default = {name for name, service in services.items() if not service.get("profiles")}
        assert default == {"postgres", "redis", *OURS}
        assert {name for name, service in services.items() if service.get("profiles") == ["dev"]} == DEVELOPMENT
        observability = {name for name in services if services[name].get("profiles") == ["observability"]}
        assert observability == OBSERVABILITY
        assert {services[name]["image"] for name in ("migrate", "exporter")} == {services["api"]["image"]}

    def test_every_queue_has_its_worker(self, services: dict[str, Any]) -> None:
        commands = [" ".join(services[name]["command"]) for name in services if re.match(r"worker-(?!dev)", name)]
        consumed = [queue for command in commands for queue in re.findall(r"--queues=(\S+)", command)]
        assert sorted(consumed) == sorted(Queue)

    def test_ports(self, services: dict[str, Any]) -> None:
        published = {
            name: [(port["host_ip"], port["target"]) for port in service["ports"]]
            for name, service in services.items()
            if "ports" in service
        }
        assert {host for ports in published.values() for host, _ in ports} == {"127.0.0.1"}
        assert published["api"] == [("127.0.0.1", network.API_PORT)]
        assert published["flower"] == [("127.0.0.1", network.FLOWER_PORT)]
        assert not {"postgres", "redis", "worker-issues", "worker-default", "exporter"} & set(published)
        for worker in ("worker-issues", "worker-default"):
            assert services[worker]["environment"]["METRICS_PORT"] == str(network.WORKER_METRICS_PORT)

    def test_addresses_of_the_servers(self, services: dict[str, Any]) -> None:
        for name in (OURS | DEVELOPMENT | {"exporter"}) - {"flower"}:
            database = urlsplit(services[name]["environment"]["DATABASE_URL"])
            assert (database.hostname, database.port) == ("postgres", network.POSTGRES_PORT)
        for name in (OURS | DEVELOPMENT | {"exporter"}) - {"migrate"}:
            broker = urlsplit(services[name]["environment"]["CELERY_BROKER_URL"])
            assert (broker.hostname, broker.port) == ("redis", network.REDIS_PORT)
            assert broker.path == f"/{network.BROKER_DB}"

    def test_probes(self, services: dict[str, Any]) -> None:
        expected = {
            "api": network.API_PROBE,
            "api-dev": network.API_PROBE,
            "exporter": network.EXPORTER_PROBE,
            "flower": network.FLOWER_PROBE,
            "worker-issues": network.WORKER_READINESS_PROBE,
            "worker-default": network.WORKER_READINESS_PROBE,
            "worker-dev": network.WORKER_READINESS_PROBE,
        }
        for name, probe in expected.items():
            assert services[name]["healthcheck"]["test"] == ["CMD", *probe]
        # Without one, `docker compose up --wait` fails.
        assert all(service["healthcheck"].get("test") for name, service in services.items() if name != "migrate")

    def test_the_prefix_moves_flowers_probe(self) -> None:
        done = compose_config({**SECRETS, "FLOWER_URL_PREFIX": "flower"}, "config", "--format", "json")
        assert json.loads(done.stdout)["services"]["flower"]["healthcheck"]["test"][-1] == "/flower/healthcheck"

    def test_a_worker_may_finish_what_it_runs(self, services: dict[str, Any]) -> None:
        limit = WorkerSettings.model_fields["task_time_limit"].default
        for name in ("worker-issues", "worker-default", "worker-dev"):
            assert _seconds(services[name]["stop_grace_period"]) > limit + 15

    def test_every_setting_can_be_set(self, services: dict[str, Any]) -> None:
        made_here = {"celery_result_backend", "heartbeat_directory", "metrics_address"}
        for name, settings in (("api", ApiSettings), ("worker-issues", WorkerSettings)):
            wanted = {field.upper() for field in set(settings.model_fields) - made_here}
            assert wanted <= set(services[name]["environment"])

    def test_the_api_asks_for_tokens(self, services: dict[str, Any]) -> None:
        for name in ("api", "api-dev"):
            assert services[name]["environment"]["AUTH"] == "on"

    def test_hardening(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["read_only"] is True, name
            assert service["mem_limit"], name
            assert service["pids_limit"], name
            assert service["logging"]["options"]["max-size"], name
            assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
            assert not {"privileged", "cap_add", "network_mode", "pid", "container_name"} & set(service), name

    def test_only_those_who_must_reach_a_server(self, project: dict[str, Any], services: dict[str, Any]) -> None:
        members: dict[str, set[str]] = {}
        for name, service in services.items():
            for joined in service["networks"]:
                members.setdefault(joined, set()).add(name)
        workers = {"worker-issues", "worker-default", "worker-dev"}
        assert members["database"] == {"postgres", "migrate", "api", "api-dev", "exporter", *workers}
        assert members["broker"] == {"redis", "api", "api-dev", "flower", "exporter", *workers}
        assert members["logs"] == {"loki", "alloy", "grafana"}
        assert members["metrics"] == {"api", "flower", "exporter", "prometheus", "grafana", *workers}
        assert members["edge"] == {"api", "api-dev", "flower", "prometheus", "grafana"}
        assert {name for name, made in project["networks"].items() if made.get("internal")} == set(members) - {
            "edge"
        }

    def test_all_else_waits_for_the_migrations(self, services: dict[str, Any]) -> None:
        for name in (OURS | DEVELOPMENT | {"exporter"}) - {"migrate"}:
            assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"

    def test_secrets_come_from_outside(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            for variable, value in (service.get("environment") or {}).items():
                if value is not None and re.search(r"PASSWORD|TOKEN|_AUTH|_URL$", variable):
                    assert any(secret in str(value) for secret in SECRETS.values()), f"{name}: {variable}"

    @pytest.mark.parametrize("name", sorted(SECRETS))
    def test_a_missing_secret_is_one_line_that_says_what_to_do(self, name: str) -> None:
        done = compose_config({key: value for key, value in SECRETS.items() if key != name}, "up", "--no-start")

        assert done.returncode != 0
        (line,) = done.stderr.strip().splitlines()
        assert name in line
        assert "run make env first" in line


def test_make_env_writes_what_is_missing_and_keeps_the_rest(tmp_path: Path) -> None:
    script = tmp_path / "deploy/compose/make-env"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "deploy/compose/make-env", script)
    env = tmp_path / ".env"
    env.write_text("LEASE_SECONDS=30\nREDIS_PASSWORD=kept")
    env.chmod(0o644)

    for _ in range(2):
        subprocess.run([script], check=True)

    values = dict(line.split("=") for line in env.read_text().splitlines())
    assert set(values) == {"LEASE_SECONDS", *SECRETS}
    assert values["REDIS_PASSWORD"] == "kept"
    made = [values[name].removeprefix("itk_admin_") for name in SECRETS if name != "REDIS_PASSWORD"]
    assert len(set(made)) == 5
    assert all(re.fullmatch(r"[0-9a-f]{40}", value) for value in made)
    assert values["ADMIN_TOKEN"].startswith("itk_admin_")
    assert env.stat().st_mode & 0o777 == 0o600


def test_no_secret_is_in_the_repository() -> None:
    subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=ROOT, check=True)
    tracked = subprocess.run(
        ["git", "grep", "-nIE", r"(PASSWORD|SECRET|TOKEN|_KEY) ?[:=] ?[\"']?[A-Za-z0-9+/]{12,}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tracked.stdout == ""


def _seconds(duration: str) -> int:
    minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration).groups()  # type: ignore[union-attr]
    return 60 * int(minutes or 0) + int(seconds or 0)
