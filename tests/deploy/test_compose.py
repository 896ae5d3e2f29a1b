"""The compose files conform to the compose specification, the contracts and the rules of the project."""

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
OWN_SERVICES = {"migrate", "api", "worker-issues", "worker-default", "flower"}
ONE_SHOT = {"secrets", "roles", "migrate"}
"""Services that end before the others start."""
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
def test_compose_file_conforms_to_specification(file: Path) -> None:
    subprocess.run([tool("check-jsonschema"), "--builtin-schema", "compose-spec", str(file)], check=True)


@needs_compose
class TestRenderedProject:
    def test_postgres_log_quotes_no_statements(self, services: dict[str, Any]) -> None:
        assert {"log_min_error_statement=panic", "log_error_verbosity=terse"} <= set(
            services["postgres"]["command"]
        )

    def test_compose_project_has_expected_services(self, services: dict[str, Any]) -> None:
        default = {name for name, service in services.items() if not service.get("profiles")}
        assert default == {"postgres", "redis", *ONE_SHOT, *OWN_SERVICES}
        assert {name for name, service in services.items() if service.get("profiles") == ["dev"]} == DEVELOPMENT
        observability = {name for name in services if services[name].get("profiles") == ["observability"]}
        assert observability == OBSERVABILITY
        assert {services[name]["image"] for name in ("migrate", "exporter")} == {services["api"]["image"]}

    def test_every_queue_has_worker(self, services: dict[str, Any]) -> None:
        commands = [" ".join(services[name]["command"]) for name in services if re.match(r"worker-(?!dev)", name)]
        consumed = [queue for command in commands for queue in re.findall(r"--queues=(\S+)", command)]
        assert sorted(consumed) == sorted(Queue)

    def test_ports_are_published_on_loopback_only(self, services: dict[str, Any]) -> None:
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

    def test_server_addresses_match_contracts(self) -> None:
        script = (ROOT / "deploy/compose/make-secrets").read_text()
        urls = [urlsplit(url) for url in re.findall(r"\w+://[^\"]+", script)]
        databases = [url for url in urls if url.scheme == "postgresql"]
        (broker,) = [url for url in urls if url.scheme == "redis"]
        assert {url.username for url in databases} == {
            "issuetracker",
            "issuetracker_application",
            "issuetracker_exporter",
        }
        for database in databases:
            assert (database.hostname, database.port) == ("postgres", network.POSTGRES_PORT)
        assert (broker.hostname, broker.port) == ("redis", network.REDIS_PORT)
        assert broker.path == f"/{network.BROKER_DB}"

    def test_healthchecks_match_contracts(self, services: dict[str, Any]) -> None:
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
        # `docker compose up --wait` fails for a service without a health check.
        assert all(services[name]["healthcheck"].get("test") for name in services if name not in ONE_SHOT)

    def test_flower_healthcheck_with_url_prefix_includes_prefix(self) -> None:
        done = compose_config({**SECRETS, "FLOWER_URL_PREFIX": "flower"}, "config", "--format", "json")
        assert json.loads(done.stdout)["services"]["flower"]["healthcheck"]["test"][-1] == "/flower/healthcheck"

    def test_worker_grace_period_exceeds_task_time_limit(self, services: dict[str, Any]) -> None:
        limit = WorkerSettings.model_fields["task_time_limit"].default
        for name in ("worker-issues", "worker-default", "worker-dev"):
            assert _seconds(services[name]["stop_grace_period"]) > limit + 15

    def test_every_setting_is_configurable(self, services: dict[str, Any]) -> None:
        computed_settings = {"celery_result_backend", "heartbeat_directory", "metrics_address"}
        files = {"database_url", "celery_broker_url", "admin_token", "secret_keys"}
        for name, settings in (("api", ApiSettings), ("worker-issues", WorkerSettings)):
            expected = {field.upper() for field in set(settings.model_fields) - computed_settings - files}
            assert expected <= set(services[name]["environment"])
        assert "FLOWER_URL_PREFIX" in set(services["flower"]["environment"])

    def test_every_variable_of_the_compose_files_is_in_the_reference(self) -> None:
        internal = {"COMPOSE_PROJECT_NAME"}
        files = "".join(path.read_text() for path in (ROOT / "deploy/compose").glob("*.yaml"))
        secrets = {name for name in SECRETS if name != "ADMIN_TOKEN"}
        variables = set(re.findall(r"\$\{([A-Z_]+)", files)) - internal - secrets
        reference = (ROOT / "docs/reference/settings.md").read_text()
        assert variables
        assert {name for name in variables if f"- `{name}`" not in reference} == set()

    def test_api_has_authentication_on(self, services: dict[str, Any]) -> None:
        for name in ("api", "api-dev"):
            assert services[name]["environment"]["AUTH"] == "on"

    def test_every_service_is_hardened(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["read_only"] is True, name
            assert service["mem_limit"], name
            assert service["pids_limit"], name
            assert service["logging"]["options"]["max-size"], name
            assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name
            assert not {"privileged", "cap_add", "pid", "container_name"} & set(service), name
            assert service.get("network_mode", "none") == "none", name

    def test_networks_contain_only_required_services(
        self, project: dict[str, Any], services: dict[str, Any]
    ) -> None:
        members: dict[str, set[str]] = {}
        for name, service in services.items():
            for network_name in service.get("networks", ()):
                members.setdefault(network_name, set()).add(name)
        workers = {"worker-issues", "worker-default", "worker-dev"}
        assert members["database"] == {"postgres", "migrate", "api", "api-dev", "exporter", *workers}
        assert members["broker"] == {"redis", "api", "api-dev", "flower", "exporter", *workers}
        assert members["logs"] == {"loki", "alloy", "grafana"}
        assert members["metrics"] == {"api", "flower", "exporter", "prometheus", "grafana", *workers}
        assert members["edge"] == {"api", "api-dev", "flower", "prometheus", "grafana"}
        assert {name for name, created in project["networks"].items() if created.get("internal")} == set(
            members
        ) - {"edge"}

    def test_services_depend_on_migrations(self, services: dict[str, Any]) -> None:
        for name in (OWN_SERVICES | DEVELOPMENT | {"exporter"}) - {"migrate"}:
            assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"

    def test_only_secrets_service_has_secrets_in_its_environment(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            found = [value for value in SECRETS.values() if value in json.dumps(service)]
            assert found == (list(SECRETS.values()) if name == "secrets" else []), name

    def test_services_read_only_their_own_secrets(self, services: dict[str, Any]) -> None:
        script = (ROOT / "deploy/compose/make-secrets").read_text()
        directories = re.findall(r"^service (\w+) (\d+)(.*)", script, re.MULTILINE)
        files = [
            *re.findall(r"^(?:choose|write) ([\w/]+) (\d+)", script, re.MULTILINE),
            *(
                (f"{directory}/{name}", group)
                for directory, group, copies in directories
                for name in ("CELERY_BROKER_URL", *copies.split())
            ),
        ]
        readable = {
            name: {file for file, group in files if group in service.get("group_add", ())}
            for name, service in services.items()
        }
        assert readable["secrets"] == {file for file, _ in files}
        servers = {"DATABASE_URL", "CELERY_BROKER_URL"}
        for name in ("api", "api-dev"):
            own = {*servers, "ADMIN_TOKEN", "SECRET_KEYS"}
            assert readable[name] == {"ADMIN_TOKEN", *(f"api/{file}" for file in own)}
        assert readable["migrate"] == {"migrate/DATABASE_URL"}
        assert readable["exporter"] == {f"exporter/{file}" for file in servers}
        for name in ("worker-issues", "worker-default", "worker-dev"):
            assert readable[name] == {f"worker/{file}" for file in (*servers, "SECRET_KEYS")}
        flower = {"FLOWER_BASIC_AUTH", "CELERY_BROKER_URL"}
        assert readable["flower"] == {
            "FLOWER_PASSWORD",
            "FLOWER_BASIC_AUTH",
            *(f"flower/{file}" for file in flower),
        }
        passwords = ("PASSWORD", "SUPERUSER_PASSWORD", "APPLICATION_PASSWORD", "EXPORTER_PASSWORD")
        assert readable["postgres"] == readable["roles"] == {f"POSTGRES_{name}" for name in passwords}
        assert readable["redis"] == {"REDIS_PASSWORD"}
        assert readable["grafana"] == {"GRAFANA_PASSWORD"}
        assert not readable["prometheus"] | readable["loki"] | readable["alloy"]

    def test_services_with_secrets_restart_after_change(self, services: dict[str, Any]) -> None:
        for name in {name for name, service in services.items() if service.get("group_add")} - {"secrets"}:
            dependency = services[name]["depends_on"]["secrets"]
            assert dependency["condition"] == "service_completed_successfully", name
            assert dependency["restart"] is True, name

    def test_project_without_env_file_is_valid(self) -> None:
        assert compose_config({}, "--profile", "*", "config", "--quiet").stderr == ""


def test_make_env_adds_missing_secrets_and_keeps_existing(tmp_path: Path) -> None:
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
    created = [values[name].removeprefix("itk_admin_") for name in SECRETS if name != "REDIS_PASSWORD"]
    assert len(set(created)) == 5
    assert all(re.fullmatch(r"[0-9a-f]{40}", value) for value in created)
    assert values["ADMIN_TOKEN"].startswith("itk_admin_")
    assert env.stat().st_mode & 0o777 == 0o600


def test_repository_contains_no_secret() -> None:
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
