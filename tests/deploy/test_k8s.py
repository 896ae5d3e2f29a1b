"""The Kubernetes manifests conform to their schemas, the contracts and the rules of the project."""

import asyncio
import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import jsonschema
import kubernetes_validate
import pytest
import yaml
from flower.options import default_options
from flower.urls import handlers
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.autoscaler.settings import PODS_MAX
from api.exporter.settings import ExporterSettings
from api.settings import ApiSettings
from app.settings import WorkerSettings
from contracts import network
from contracts.names import Queue
from deploy import prometheus_rule
from deploy.images import SERVICES, tag
from deploy.k8s.base.secrets.generate import render_secret
from issuetracker_cli import doctor
from tests.support import manifests
from tests.support.manifests import (
    DEFAULT,
    K8S,
    MIGRATE,
    OVERLAYS,
    SECRETS,
    Object,
    containers,
    labels,
    matches,
    named,
    quantity,
)
from tests.support.processes import ROOT
from tests.support.redis_users import NAMES as REDIS_USERS

# One process renders all manifests.
pytestmark = pytest.mark.xdist_group("k8s")

NAMESPACE = "issuetracker"
QUEUES = sorted(Queue)
WORKERS = [f"worker-{queue}" for queue in QUEUES]
LONG_RUNNING = ["api", "exporter", "flower", "postgres", "redis", *WORKERS]
SCHEMAS = {file.stem: json.loads(file.read_text()) for file in (ROOT / "tests/deploy/schemas").glob("*.json")}
DATABASE_ROLES = {"application", "backup", "exporter"}
ROLES_VARIABLES = {"PGPASSWORD", *(f"{role}_password" for role in DATABASE_ROLES)}
KUBERNETES = ("1.34", "1.37")
PROMETHEUS_PORT = 9090


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Object, ...]]:
    """Return the objects of the default, each overlay, and each selection of components."""
    directory = tmp_path_factory.mktemp("overlays")
    roots = {"default": DEFAULT, **{overlay.name: overlay for overlay in OVERLAYS}}
    for number, components in enumerate(manifests.selections()):
        roots["+".join(components) or "none"] = manifests.write_overlay(directory / str(number), components)
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(roots, pool.map(manifests.render, roots.values()), strict=True))


@pytest.fixture(scope="session")
def renderings(rendered: dict[str, tuple[Object, ...]]) -> list[tuple[str, tuple[Object, ...]]]:
    return list(rendered.items())


@pytest.fixture(scope="session")
def default() -> tuple[Object, ...]:
    return manifests.render(DEFAULT)


@pytest.fixture(scope="session")
def production() -> tuple[Object, ...]:
    return manifests.render(K8S / "overlays/production")


@pytest.fixture(scope="session")
def full() -> tuple[Object, ...]:
    return manifests.render(K8S / "overlays/full")


def iterate_containers(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object, Object]]:
    for name, pod in manifests.pods(objects).items():
        for container in containers(pod):
            yield f"{name}/{container['name']}", pod, container


def main_container(objects: tuple[Object, ...], name: str) -> Object:
    (container,) = manifests.pods(objects)[name]["spec"]["containers"]
    found: Object = container
    return found


def config(objects: tuple[Object, ...], prefix: str) -> Object:
    (found,) = [item for name, item in named(objects, "ConfigMap").items() if name.startswith(prefix)]
    return found


@cache
def _validate(kind: str, text: str) -> None:
    if kind in SCHEMAS:
        jsonschema.validate(json.loads(text), SCHEMAS[kind])
        return
    for release in KUBERNETES:
        kubernetes_validate.validate(json.loads(text), release, strict=True)


class TestAllRenderings:
    """Rules for the default, each overlay, and each selection of components."""

    def test_order_of_components_does_not_matter(self, rendered: dict[str, tuple[Object, ...]]) -> None:
        for selection in manifests.selections():
            objects, reverse = rendered["+".join(selection) or "none"], rendered.get("+".join(selection[::-1]))
            assert reverse is None or _by_id(objects) == _by_id(reverse), selection
        assert "+".join(manifests.OPTIONAL[::-1]) in rendered

    def test_objects_conform_to_schemas(
        self, renderings: list[tuple[str, tuple[Object, ...]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The library parses its largest file, the definitions, for each object.
        schema_contents = cache(kubernetes_validate.utils.schema_contents)
        monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", schema_contents)
        for _, objects in renderings:
            for item in objects:
                _validate(item["kind"], json.dumps(item, sort_keys=True))

    def test_object_names_are_unique_and_in_namespace(
        self, renderings: list[tuple[str, tuple[Object, ...]]]
    ) -> None:
        for variant, objects in renderings:
            counts = Counter((item["kind"], item["metadata"]["name"]) for item in objects)
            assert max(counts.values()) == 1, variant
            for item in objects:
                expected = None if item["kind"] == "Namespace" else NAMESPACE
                assert item["metadata"].get("namespace") == expected, f"{variant}: {item['metadata']['name']}"

    def test_selectors_match_expected_pods(self, renderings: list[tuple[str, tuple[Object, ...]]]) -> None:
        for variant, objects in renderings:
            pods = manifests.pods(objects)
            for name, workload in manifests.workloads(objects).items():
                if workload["kind"] in {"Deployment", "StatefulSet"}:
                    selected = [
                        other for other in pods if matches(workload["spec"]["selector"], labels(pods[other]))
                    ]
                    assert selected == [name], f"{variant}: {name}"
            for kind in ("Service", "PodDisruptionBudget", "PodMonitor"):
                for name, item in named(objects, kind).items():
                    selector = item["spec"]["selector"]
                    selector = {"matchLabels": selector} if kind == "Service" else selector
                    selected = [other for other in pods if matches(selector, labels(pods[other]))]
                    assert selected, f"{variant}: {kind} {name}"
                    expected = [name.removesuffix("-pods")]
                    assert kind == "PodMonitor" or selected == expected, f"{variant}: {kind} {name}"
            for name, item in named(objects, "NetworkPolicy").items():
                selected = [other for other in pods if matches(item["spec"]["podSelector"], labels(pods[other]))]
                assert selected, f"{variant}: NetworkPolicy {name}"

    def test_referenced_ports_exist(self, renderings: list[tuple[str, tuple[Object, ...]]]) -> None:
        for variant, objects in renderings:
            for name, selector, port in _referenced_ports(objects):
                for owner, pod in manifests.pods(objects).items():
                    if matches(selector, labels(pod)):
                        assert port in _ports(pod), f"{variant}: {name} refers to port {port} of {owner}"

    def test_referenced_objects_exist(self, renderings: list[tuple[str, tuple[Object, ...]]]) -> None:
        for variant, objects in renderings:
            existing = {kind: set(named(objects, kind)) for kind in ("ConfigMap", "PersistentVolumeClaim")}
            for name, pod in manifests.pods(objects).items():
                assert pod["spec"]["serviceAccountName"] in named(objects, "ServiceAccount"), f"{variant}: {name}"
                for volume in pod["spec"].get("volumes", []):
                    assert set(volume) - {"name"} <= {"configMap", "emptyDir", "persistentVolumeClaim"}
                    configmap = volume.get("configMap", {}).get("name")
                    assert configmap is None or configmap in existing["ConfigMap"], f"{variant}: {name}"
                    claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                    assert claim is None or claim in existing["PersistentVolumeClaim"], f"{variant}: {name}"
            for name, _, container in iterate_containers(objects):
                for source in container.get("envFrom", []):
                    assert source["configMapRef"]["name"] in existing["ConfigMap"], f"{variant}: {name}"
            for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
                for name, item in named(objects, kind).items():
                    assert item["spec"]["scaleTargetRef"]["name"] == name
                    assert name in named(objects, "Deployment"), f"{variant}: {kind} {name}"

    def test_secret_keys_are_generated_or_external(self, renderings: list[tuple[str, tuple[Object, ...]]]) -> None:
        for variant, objects in renderings:
            assert not named(objects, "Secret"), variant
            templates = named(objects, "ConfigMap").get("secret-templates", {"data": {}})["data"]
            generated = {name: render_secret(text, NAMESPACE) for name, text in templates.items()}
            external = {
                "database": {"DATABASE_URL"} if "external-postgres" in variant else set(),
                "database-roles": DATABASE_ROLES if "external-postgres" in variant else set(),
                "broker-users": set(REDIS_USERS) if "external-redis" in variant else set(),
            }
            for name, key, optional in _secret_keys(objects):
                if optional:
                    continue
                has_own_secrets = "own-secrets" in variant or variant == "production"
                assert has_own_secrets or key in generated.get(name, external.get(name, ())), (
                    f"{variant}: {name} {key}"
                )
            assert ("own-secrets" in variant or variant == "production") == (
                "secrets" not in named(objects, "Role")
            )

    def test_queue_has_worker_budget_and_autoscaler(
        self, renderings: list[tuple[str, tuple[Object, ...]]]
    ) -> None:
        for variant, objects in renderings:
            deployments = named(objects, "Deployment")
            assert sorted(name for name in deployments if name.startswith("worker-")) == WORKERS
            keda = "keda" in variant or variant == "production"
            for queue in QUEUES:
                name = f"worker-{queue}"
                (container,) = deployments[name]["spec"]["template"]["spec"]["containers"]
                assert container["args"] == [f"--queues={queue}", f"--hostname={queue}@%h"]
                assert name in named(objects, "PodDisruptionBudget")
                assert (name in named(objects, "ScaledObject")) == keda, variant
                has_own = not keda and "autoscaler" not in variant and variant != "full"
                assert (name in named(objects, "HorizontalPodAutoscaler")) == has_own, variant
                if keda:
                    (trigger,) = named(objects, "ScaledObject")[name]["spec"]["triggers"]
                    assert f"queue = '{queue}' AND" in trigger["metadata"]["query"]
                    concurrency = config(objects, "settings")["data"]["WORKER_CONCURRENCY"]
                    assert trigger["metadata"]["targetQueryValue"] == concurrency

    def test_pods_and_containers_are_hardened(self, renderings: list[tuple[str, tuple[Object, ...]]]) -> None:
        for variant, objects in renderings:
            (namespace,) = named(objects, "Namespace").values()
            assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
            for name, pod in manifests.pods(objects).items():
                spec = pod["spec"]
                assert spec["securityContext"]["runAsNonRoot"] is True, f"{variant}: {name}"
                assert spec["securityContext"]["runAsUser"] >= 999, f"{variant}: {name}"
                assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, (
                    f"{variant}: {name}"
                )
                assert spec["enableServiceLinks"] is False, f"{variant}: {name}"
                needs_token = name == "autoscaler" or name.startswith("secrets-")
                assert spec["automountServiceAccountToken"] is needs_token, f"{variant}: {name}"
                assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(spec)
            for name, _, container in iterate_containers(objects):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                }, f"{variant}: {name}"

    def test_containers_have_requests_and_limits(self, renderings: list[tuple[str, tuple[Object, ...]]]) -> None:
        for variant, objects in renderings:
            for name, pod, container in iterate_containers(objects):
                requests, limits = (container["resources"][kind] for kind in ("requests", "limits"))
                for resource in ("cpu", "memory"):
                    assert 0 < quantity(requests[resource]) <= quantity(limits[resource]), f"{variant}: {name}"
                # Files in memory count towards the limit.
                memory = sum(
                    quantity(volume["emptyDir"]["sizeLimit"])
                    for volume in pod["spec"].get("volumes", [])
                    if volume.get("emptyDir", {}).get("medium") == "Memory"
                )
                assert memory < quantity(limits["memory"]) / 2
                for volume in pod["spec"].get("volumes", []):
                    assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], f"{variant}: {name}"

    def test_containers_use_expected_images(self, renderings: list[tuple[str, tuple[Object, ...]]]) -> None:
        images = yaml.safe_load((ROOT / "deploy/compose/observability.yaml").read_text())["services"]
        monitoring = {images[name]["image"].split(":-")[1].rstrip("}") for name in ("prometheus", "grafana")}
        expected = {*(tag(service) for service in SERVICES), "pgvector/pgvector:pg17", "redis:8", *monitoring}
        for variant, objects in renderings:
            for name, _, container in iterate_containers(objects):
                image = container["image"].removeprefix("registry.example.com/")
                assert image in expected, f"{variant}: {name}"
                assert container["imagePullPolicy"] == "IfNotPresent", f"{variant}: {name}"

    def test_jobs_are_independent_of_settings(self, renderings: list[tuple[str, tuple[Object, ...]]]) -> None:
        for variant, objects in renderings:
            jobs = named(objects, "Job")
            assert set(jobs) <= {MIGRATE, SECRETS}, variant
            assert MIGRATE in jobs, variant
            for name, job in jobs.items():
                pod = manifests.template(job)
                referred = [volume["configMap"]["name"] for volume in pod["spec"].get("volumes", [])]
                assert set(referred) <= {"database-roles", "secret-generator", "secret-templates"}, (
                    f"{variant}: {name}"
                )
                assert not any("envFrom" in container for container in containers(pod)), f"{variant}: {name}"
                assert "app.kubernetes.io/version" not in labels(pod), f"{variant}: {name}"


def _by_id(objects: tuple[Object, ...]) -> dict[tuple[str, str], Object]:
    return {(item["kind"], item["metadata"]["name"]): item for item in objects}


def test_components_in_any_position_build(tmp_path: Path) -> None:
    components = ("release", *reversed(manifests.OPTIONAL), "workers")
    directory = manifests.write_kustomization(tmp_path / "reverse", components)
    assert set(WORKERS) <= set(manifests.pods(manifests.render(directory)))


def test_production_overlay_with_every_commented_component_builds(tmp_path: Path) -> None:
    text = (K8S / "overlays/production/kustomization.yaml").read_text()
    assert text.count("  # - ../../components/") == 2
    copy = tmp_path.resolve() / "kustomization.yaml"
    copy.write_text(text.replace("# - ../../", "- ../../").replace("../..", os.path.relpath(K8S, copy.parent)))
    assert not named(manifests.render(copy.parent), "StatefulSet")


def _ports(pod: Object) -> set[str | int]:
    listed = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    return {port["name"] for port in listed} | {port["containerPort"] for port in listed}


def _referenced_ports(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object, str | int]]:
    for name, service in named(objects, "Service").items():
        for port in service["spec"]["ports"]:
            yield f"Service {name}", {"matchLabels": service["spec"]["selector"]}, port["targetPort"]
    for name, monitor in named(objects, "PodMonitor").items():
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            yield f"PodMonitor {name}", monitor["spec"]["selector"], endpoint["port"]
    for name, policy in named(objects, "NetworkPolicy").items():
        for selector, ports in _rules_by_selector(policy["spec"]):
            yield from ((f"NetworkPolicy {name}", selector, port["port"]) for port in ports)


def _rules_by_selector(policy: Object) -> Iterator[tuple[Object, list[Object]]]:
    """Yield the pod selector and the ports of each rule of a policy."""
    for rule in policy.get("ingress", []):
        yield policy["podSelector"], rule["ports"]
    for rule in policy.get("egress", []):
        for peer in rule.get("to", []):
            if set(peer) == {"podSelector"}:
                yield peer["podSelector"], rule["ports"]


def _secret_keys(objects: tuple[Object, ...]) -> Iterator[tuple[str, str, bool]]:
    for _, _, container in iterate_containers(objects):
        for variable in container.get("env", []):
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["secretKeyRef"]
                yield reference["name"], reference["key"], reference.get("optional", False)


def test_default_has_expected_workloads(default: tuple[Object, ...]) -> None:
    kinds = {name: workload["kind"] for name, workload in manifests.workloads(default).items()}
    assert kinds == {
        **dict.fromkeys(["api", "exporter", "flower", *WORKERS], "Deployment"),
        **dict.fromkeys(["postgres", "redis"], "StatefulSet"),
        **dict.fromkeys([MIGRATE, SECRETS], "Job"),
        **dict.fromkeys(["backup", "restore"], "CronJob"),
    }
    assert set(named(default, "HorizontalPodAutoscaler")) == {"api", *WORKERS}


def test_default_needs_no_custom_resources(default: tuple[Object, ...]) -> None:
    groups = {item["apiVersion"].partition("/")[0] for item in default}
    assert groups == {
        "v1",
        "apps",
        "batch",
        "autoscaling",
        "policy",
        "networking.k8s.io",
        "rbac.authorization.k8s.io",
    }


def test_long_running_containers_have_three_probes(default: tuple[Object, ...]) -> None:
    for name in LONG_RUNNING:
        container = main_container(default, name)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["periodSeconds"] >= 2, f"{name}: {probe}"
            assert container[probe]["timeoutSeconds"] >= 5, f"{name}: {probe}"
        # A node that is slow for half a minute must not cause a restart.
        liveness = container["livenessProbe"]
        assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60, name


def test_probes_match_contracts(default: tuple[Object, ...]) -> None:
    for name in WORKERS:
        container = main_container(default, name)
        assert tuple(container["startupProbe"]["exec"]["command"]) == network.WORKER_LIVENESS_PROBE
        assert tuple(container["livenessProbe"]["exec"]["command"]) == network.WORKER_LIVENESS_PROBE
        assert tuple(container["readinessProbe"]["exec"]["command"]) == network.WORKER_READINESS_PROBE
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert network.HEARTBEAT_DIRECTORY in mounts
    api = main_container(default, "api")
    # Only the startup probe checks the database, so that an outage does not remove or restart replicas.
    assert api["startupProbe"]["httpGet"] == {"path": network.READINESS_PATH, "port": "http"}
    assert api["livenessProbe"]["httpGet"] == {"path": network.LIVENESS_PATH, "port": "http"}
    assert api["readinessProbe"]["httpGet"] == {"path": network.LIVENESS_PATH, "port": "http"}
    exporter = main_container(default, "exporter")
    assert {
        exporter[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    } == {network.EXPORTER_PROBE[-1]}
    flower = main_container(default, "flower")
    assert {flower[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {
        network.FLOWER_PROBE[-1]
    }


def test_ports_match_contracts(default: tuple[Object, ...]) -> None:
    expected = {
        "api": network.API_PORT,
        "flower": network.FLOWER_PORT,
        "postgres": network.POSTGRES_PORT,
        "redis": network.REDIS_PORT,
    }
    services = named(default, "Service")
    assert {name: service["spec"]["ports"][0]["port"] for name, service in services.items()} == expected
    expected |= {"exporter": network.EXPORTER_PORT, **dict.fromkeys(WORKERS, network.WORKER_METRICS_PORT)}
    for name, port in expected.items():
        assert port in _ports(manifests.pods(default)[name])


def _allowed(objects: tuple[Object, ...], direction: str) -> set[tuple[str, str, int]]:
    """Return the (source, target, port) triples that the policies of one direction allow between pods."""
    pods, found = manifests.pods(objects), set()
    for policy in named(objects, "NetworkPolicy").values():
        has_own_secrets = [
            name for name, pod in pods.items() if matches(policy["spec"]["podSelector"], labels(pod))
        ]
        for rule in policy["spec"].get(direction, []):
            for peer in rule.get("from" if direction == "ingress" else "to", []):
                if set(peer) != {"podSelector"}:
                    continue
                others = [name for name, pod in pods.items() if matches(peer["podSelector"], labels(pod))]
                for port in rule["ports"]:
                    pairs = ((a, b) for a in has_own_secrets for b in others)
                    found |= {
                        (b, a, _number(pods[a], port["port"]))
                        if direction == "ingress"
                        else (a, b, _number(pods[b], port["port"]))
                        for a, b in pairs
                    }
    return found


def _number(pod: Object, port: str | int) -> int:
    """Return the number of a port of a pod, which may be given by its name."""
    (number,) = {
        listed["containerPort"]
        for container in pod["spec"]["containers"]
        for listed in container["ports"]
        if port in {listed["name"], listed["containerPort"]}
    }
    return int(number)


def test_network_policies_allow_only_required_connections(default: tuple[Object, ...]) -> None:
    to_postgres = {"api", "exporter", *WORKERS, MIGRATE, "backup", "restore"}
    to_redis = {"api", "exporter", "flower", *WORKERS}
    expected = {(name, "postgres", network.POSTGRES_PORT) for name in to_postgres}
    expected |= {(name, "redis", network.REDIS_PORT) for name in to_redis}
    assert _allowed(default, "egress") == expected
    assert _allowed(default, "ingress") == expected


def test_network_policies_deny_everything_else(default: tuple[Object, ...]) -> None:
    policies = named(default, "NetworkPolicy")
    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    dns = policies["dns"]["spec"]
    assert dns["podSelector"] == {}
    ports = dns["egress"][0]["ports"]
    assert ports == [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    from_anywhere = [
        name for name, item in policies.items() for rule in item["spec"].get("ingress", []) if "from" not in rule
    ]
    to_anywhere = [
        name for name, item in policies.items() for rule in item["spec"].get("egress", []) if "to" not in rule
    ]
    assert from_anywhere == ["api"]
    assert to_anywhere == ["secrets"]


def _environment(objects: tuple[Object, ...], container: Object) -> dict[str, str]:
    """Return the environment of a container, with generated Secrets."""
    templates = named(objects, "ConfigMap")["secret-templates"]["data"]
    secrets = {name: render_secret(text, NAMESPACE) for name, text in templates.items()}
    environment: dict[str, str] = {}
    for source in container.get("envFrom", []):
        environment |= named(objects, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference is None:
            environment[variable["name"]] = variable["value"]
        elif reference["name"] in secrets:
            environment[variable["name"]] = secrets[reference["name"]][reference["key"]]
    return environment


def test_environment_variables_are_known_settings(default: tuple[Object, ...]) -> None:
    api, worker = ({name.upper() for name in cls.model_fields} for cls in (ApiSettings, WorkerSettings))
    for name in config(default, "settings")["data"]:
        assert name in api | worker, name
    flower = {f"FLOWER_{name.upper()}" for name in default_options}
    servers = {
        "postgres": {"PGDATA", "POSTGRES_INITDB_ARGS", "POSTGRES_PASSWORD", "ISSUETRACKER_PASSWORD"},
        "redis": {"REDISCLI_AUTH", *(f"PASSWORD_{user}" for user in REDIS_USERS)},
    }
    known_variables = {
        "api": api,
        "exporter": {name.upper() for name in ExporterSettings.model_fields},
        "flower": flower | {"CELERY_BROKER_URL"},
        **dict.fromkeys(WORKERS, worker),
        **servers,
    }
    for name in LONG_RUNNING:
        variables = {variable["name"] for variable in main_container(default, name).get("env", [])}
        assert variables <= known_variables[name], name
    for name, _, container in iterate_containers(default):
        if name == f"{MIGRATE}/roles":
            assert {variable["name"] for variable in container["env"]} == ROLES_VARIABLES
        elif not name.endswith(tuple(f"/{owner}" for owner in ("api", "exporter", "worker", "flower", *servers))):
            assert {variable["name"] for variable in container.get("env", [])} <= {"DATABASE_URL"}, name


@pytest.mark.parametrize(
    ("name", "cls"),
    [("api", ApiSettings), ("exporter", ExporterSettings), *((worker, WorkerSettings) for worker in WORKERS)],
)
def test_settings_from_manifests_are_valid_and_complete(
    name: str,
    cls: type[ApiSettings | WorkerSettings],
    default: tuple[Object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in _environment(default, main_container(default, name)).items():
        monkeypatch.setenv(variable, value)

    settings = cls(_env_file=None)

    assert {"database_url", "celery_broker_url", "log_format"} <= settings.model_fields_set
    role = "exporter" if name == "exporter" else "application"
    url = rf"//issuetracker_{role}:[0-9a-f]{{40}}@postgres\.{NAMESPACE}\.svc:{network.POSTGRES_PORT}/IssueTracker$"
    assert re.search(url, settings.database_url)
    user = "worker" if name in WORKERS else name
    broker = rf"//{user}:[0-9a-f]{{40}}@redis\.{NAMESPACE}\.svc:{network.REDIS_PORT}/{network.BROKER_DB}$"
    assert re.search(broker, settings.celery_broker_url)


def test_changed_setting_changes_only_pods_that_read_it(default: tuple[Object, ...], tmp_path: Path) -> None:
    changed = manifests.render(
        manifests.write_overlay(
            tmp_path / "changed",
            [],
            configMapGenerator=[{"name": "settings", "behavior": "merge", "literals": ["LOG_LEVEL=DEBUG"]}],
        )
    )
    before, after = manifests.pods(default), manifests.pods(changed)
    assert config(changed, "settings")["data"]["LOG_LEVEL"] == "DEBUG"
    assert {name for name in before if before[name] != after[name]} == {"api", "exporter", *WORKERS}


def test_grace_periods_exceed_shutdown_time(default: tuple[Object, ...]) -> None:
    pods = manifests.pods(default)
    settings = config(default, "settings")["data"]
    for name in WORKERS:
        assert pods[name]["spec"]["terminationGracePeriodSeconds"] > float(settings["TASK_TIME_LIMIT"]) + 15
    dockerfile = (ROOT / "services/api/Dockerfile").read_text()
    shutdown_timeout = int(re.findall(r'"--timeout-graceful-shutdown", "(\d+)"', dockerfile)[0])
    (api,) = pods["api"]["spec"]["containers"]
    assert "command" not in api
    pause = api["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pods["api"]["spec"]["terminationGracePeriodSeconds"] >= pause + shutdown_timeout + 10
    readiness = api["readinessProbe"]
    assert pause >= readiness["periodSeconds"]


def test_rolling_update_keeps_capacity(default: tuple[Object, ...]) -> None:
    for name in ["api", *WORKERS]:
        strategy = named(default, "Deployment")[name]["spec"]["strategy"]
        assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_autoscaled_deployments_have_no_replicas(default: tuple[Object, ...]) -> None:
    for name in named(default, "HorizontalPodAutoscaler"):
        assert "replicas" not in named(default, "Deployment")[name]["spec"]
    assert named(default, "HorizontalPodAutoscaler")["api"]["spec"]["minReplicas"] == 2


def test_disruption_budgets_allow_drain(default: tuple[Object, ...]) -> None:
    budgets = named(default, "PodDisruptionBudget")
    assert set(budgets) == {"api", *WORKERS}
    for name, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1, name
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", name


def test_maximum_replicas_fit_into_connections_of_postgres(production: tuple[Object, ...]) -> None:
    default = manifests.render(DEFAULT)
    settings = config(default, "settings")["data"]
    max_replicas = {
        name: item["spec"]["maxReplicas"] for name, item in named(default, "HorizontalPodAutoscaler").items()
    }
    keda_replicas = {
        name: item["spec"]["maxReplicaCount"] for name, item in named(production, "ScaledObject").items()
    }
    autoscaler_pods = {f"worker-{queue}": number for queue, number in PODS_MAX.items()}
    assert {name: max_replicas[name] for name in WORKERS} == keda_replicas == autoscaler_pods
    # Two per child, for task and heartbeat, and two for the main process. An update adds one pod.
    worker_connections = 2 * (int(settings["WORKER_CONCURRENCY"]) + 1)
    connections = (max_replicas["api"] + 1) * int(settings["DATABASE_POOL_SIZE"])
    connections += sum((max_replicas[name] + 1) * worker_connections for name in WORKERS)
    arguments = main_container(default, "postgres")["args"]
    (max_connections,) = [int(word.split("=")[1]) for word in arguments if word.startswith("max_connections=")]
    # Three are reserved for superusers. Migration, init containers, backup and scalers need a few.
    assert connections + 10 <= max_connections - 3


def test_postgres_log_quotes_no_statements(default: tuple[Object, ...]) -> None:
    arguments = main_container(default, "postgres")["args"]
    assert {"log_min_error_statement=panic", "log_error_verbosity=terse"} <= set(arguments)


def test_init_containers_wait_for_schema_or_database(default: tuple[Object, ...]) -> None:
    for name, target in [
        ("api", "schema"),
        ("exporter", "schema"),
        *((worker, "schema") for worker in WORKERS),
        (MIGRATE, "database"),
    ]:
        (first, *_) = manifests.pods(default)[name]["spec"]["initContainers"]
        assert first["command"] == ["python", "-m", "api.wait_for", target]
        assert first["image"] == tag("api")


def test_secrets_job_may_only_create_secrets(default: tuple[Object, ...]) -> None:
    (role,) = named(default, "Role").values()
    assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
    (binding,) = named(default, "RoleBinding").values()
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "secrets", "namespace": NAMESPACE}]
    assert not {item["kind"] for item in default} & {"ClusterRole", "ClusterRoleBinding"}


def test_external_servers_replace_statefulsets(rendered: dict[str, tuple[Object, ...]]) -> None:
    objects = rendered["external-postgres+external-redis"]
    assert not named(objects, "StatefulSet")
    assert set(named(objects, "Service")) == {"api", "flower"}
    assert set(named(objects, "ConfigMap")["secret-templates"]["data"]) == {"access", "flower"}
    for name, port in (("to-postgres", network.POSTGRES_PORT), ("to-redis", network.REDIS_PORT)):
        (rule,) = named(objects, "NetworkPolicy")[name]["spec"]["egress"]
        assert rule["to"] == [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]
        assert rule["ports"] == [{"protocol": "TCP", "port": port}]


def _is_routed(ingress: Object, path: str) -> bool:
    (rule,) = ingress["spec"]["rules"]
    for routed in rule["http"]["paths"]:
        prefix = routed["path"].rstrip("/") + "/"
        if path == routed["path"] or (routed["pathType"] == "Prefix" and path.startswith(prefix)):
            return True
    return False


def test_api_behind_ingress_trusts_private_proxies_only(rendered: dict[str, tuple[Object, ...]]) -> None:
    api = named(rendered["ingress+flower-ingress"], "Deployment")["api"]
    (container,) = api["spec"]["template"]["spec"]["containers"]
    trusted = {item["name"]: item.get("value", "") for item in container["env"]}["FORWARDED_ALLOW_IPS"]
    clients = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        clients.append((scope["client"][0], scope["scheme"]))

    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")]
    for peer in ("10.244.1.7", "192.168.3.4", "fd00::7", "198.51.100.1"):
        scope: Any = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}
        asyncio.run(ProxyHeadersMiddleware(application, trusted)(scope, AsyncMock(), AsyncMock()))

    assert clients == [("203.0.113.9", "https")] * 3 + [("198.51.100.1", "http")]


def test_ingress_routes_only_public_paths(rendered: dict[str, tuple[Object, ...]]) -> None:
    ingresses = named(rendered["ingress+flower-ingress"], "Ingress")
    for path in ("/", "/static/page.js", "/api/v1/issues", "/docs", "/openapi.json"):
        assert _is_routed(ingresses["api"], path), path
    for path in (network.METRICS_PATH, network.LIVENESS_PATH, network.READINESS_PATH):
        assert not _is_routed(ingresses["api"], path), path
    patterns = [str(item[0]) if isinstance(item, tuple) else item.regex.pattern for item in handlers]
    for pattern in set(patterns) - {".*"}:
        path = re.sub(r"\(\.[+*]\)|/\?$|\$$", "", pattern)
        path = path if path == "/" else path.rstrip("/")
        is_internal = path in {"/metrics", "/healthcheck"}
        assert _is_routed(ingresses["flower"], path) is not is_internal, pattern
    for ingress in ingresses.values():
        services = named(rendered["ingress+flower-ingress"], "Service")
        hosts = {host for entry in ingress["spec"]["tls"] for host in entry["hosts"]}
        for rule in ingress["spec"]["rules"]:
            assert rule["host"] in hosts
            for routed in rule["http"]["paths"]:
                backend = routed["backend"]["service"]
                assert backend["port"] == {"name": services[backend["name"]]["spec"]["ports"][0]["name"]}


def test_flower_ingress_publishes_only_flower(rendered: dict[str, tuple[Object, ...]]) -> None:
    assert set(named(rendered["flower-ingress"], "Ingress")) == {"flower"}
    (rule,) = named(rendered["flower-ingress"], "NetworkPolicy")["flower-from-ingress"]["spec"]["ingress"]
    assert rule["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
    ]
    assert set(named(rendered["ingress"], "Ingress")) == {"api"}


def test_pod_monitors_match_metrics_endpoints(rendered: dict[str, tuple[Object, ...]]) -> None:
    objects = rendered["monitoring"]
    for name, monitor in named(objects, "PodMonitor").items():
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["path"] == network.METRICS_PATH, name
    monitored = set(named(objects, "PodMonitor"))
    assert monitored == {"api", "exporter", "flower", "worker"}
    policies = [named(objects, "NetworkPolicy")[name]["spec"] for name in ("metrics", "metrics-ports")]
    allowed_pods = [name for policy in policies for name in policy["podSelector"]["matchExpressions"][0]["values"]]
    assert set(allowed_pods) == monitored


METRICS_PORTS = {
    "api": network.API_PORT,
    "flower": network.FLOWER_PORT,
    "exporter": network.EXPORTER_PORT,
    **dict.fromkeys(WORKERS, network.WORKER_METRICS_PORT),
}


def test_plain_monitoring_may_only_read_metrics(default: tuple[Object, ...], full: tuple[Object, ...]) -> None:
    expected = {("prometheus", name, port) for name, port in METRICS_PORTS.items()}
    expected.add(("grafana", "prometheus", PROMETHEUS_PORT))
    for direction in ("ingress", "egress"):
        added = _allowed(full, direction) - _allowed(default, direction)
        assert added - {("autoscaler", "postgres", network.POSTGRES_PORT)} == expected
    assert set(named(full, "Role")) == {"secrets", "autoscaler"}


def test_plain_monitoring_scrapes_every_pod_by_the_names_of_compose(full: tuple[Object, ...]) -> None:
    prometheus = yaml.safe_load(config(full, "prometheus-config-")["data"]["prometheus.yml"])
    compose = yaml.safe_load((ROOT / "deploy/compose/prometheus/prometheus.yml").read_text())
    services, jobs = named(full, "Service"), set()
    for scraped in prometheus["scrape_configs"]:
        for target in [target for group in scraped.get("static_configs", ()) for target in group["targets"]]:
            host, _, port = target.partition(":")
            jobs.add(scraped["job_name"])
            assert host == "localhost" or (scraped["job_name"], port) == (host, str(METRICS_PORTS[host]))
        for discovery in scraped.get("dns_sd_configs", ()):
            for name in discovery["names"]:
                is_renamed = scraped.get("relabel_configs") == [
                    {"source_labels": ["__meta_dns_name"], "target_label": "job"}
                ]
                jobs.add(name if is_renamed else scraped["job_name"])
                assert discovery["port"] == METRICS_PORTS[name.removesuffix("-pods")]
                assert services[name]["spec"]["clusterIP"] == "None"
                assert services[name]["spec"]["publishNotReadyAddresses"] is True
    assert jobs == {scraped["job_name"] for scraped in compose["scrape_configs"]}
    assert prometheus["rule_files"] == compose["rule_files"]


def test_plain_monitoring_has_rules_and_dashboards_of_compose(full: tuple[Object, ...]) -> None:
    for prefix, files in (
        ("prometheus-rules-", ROOT.glob("deploy/prometheus/rules/*")),
        ("grafana-dashboards-", ROOT.glob("deploy/grafana/dashboards/*")),
        ("grafana-datasources-", ROOT.glob("deploy/compose/grafana/provisioning/datasources/prometheus.yaml")),
        ("grafana-providers-", ROOT.glob("deploy/compose/grafana/provisioning/dashboards/*")),
    ):
        assert config(full, prefix)["data"] == {file.name: file.read_text() for file in files}
    grafana = main_container(full, "grafana")
    mounts = [mount["mountPath"] for mount in grafana["volumeMounts"]]
    (provider,) = yaml.safe_load(config(full, "grafana-providers-")["data"]["issuetracker.yaml"])["providers"]
    assert provider["options"]["path"] in mounts
    (source,) = yaml.safe_load(config(full, "grafana-datasources-")["data"]["prometheus.yaml"])["datasources"]
    assert source["url"] == f"http://prometheus:{named(full, 'Service')['prometheus']['spec']['ports'][0]['port']}"
    settings = yaml.safe_load((ROOT / "deploy/compose/observability.yaml").read_text())["services"]["grafana"]
    own = {variable["name"]: variable.get("value") for variable in grafana["env"]}
    # The passwords come from files in compose, and from Secrets in Kubernetes.
    password = "GF_SECURITY_ADMIN_PASSWORD"
    in_compose = {name: value for name, value in settings["environment"].items() if name != f"{password}__FILE"}
    assert own == {**in_compose, password: None}


def test_objects_are_small_enough_for_apply(full: tuple[Object, ...]) -> None:
    """`kubectl apply` stores each object in an annotation, which may have 256 KiB."""
    assert max(len(json.dumps(item)) for item in full) < 2**17


def test_prometheus_rule_equals_compose_alerts() -> None:
    assert prometheus_rule.OBJECT.read_text() == prometheus_rule.prometheus_rule(), (
        "The rules are outdated. Run `make rules`."
    )


def test_release_version_is_defined_once(production: tuple[Object, ...]) -> None:
    release = yaml.safe_load((K8S / "components/release/kustomization.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    tags = {image["name"]: image["newTag"] for image in release["images"]}
    assert {tags[f"issuetracker-{service}"] for service in SERVICES} == {project}
    assert {item["metadata"]["labels"]["app.kubernetes.io/version"] for item in production} == {project}
    assert project.replace(".", "-") not in (ROOT / "docs/how-to/kubernetes.md").read_text()
    for file in K8S.rglob("*.yaml"):
        if file.parent.name != "release":
            assert project not in file.read_text(), file
            assert not re.search(r"image: \S+:\S", file.read_text()), file


def test_registry_of_production_overlay_covers_every_image(
    default: tuple[Object, ...], production: tuple[Object, ...]
) -> None:
    images = {container["image"] for _, _, container in iterate_containers(default)}
    in_registry = {container["image"] for _, _, container in iterate_containers(production)}
    assert in_registry == {f"registry.example.com/{image}" for image in images}


def test_database_settings_equal_compose(default: tuple[Object, ...]) -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/servers.yaml").read_text())["services"]
    variables = _environment(default, main_container(default, "postgres"))
    assert variables["POSTGRES_INITDB_ARGS"] == compose["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]
    # The password comes from a file in compose, and from a Secret in Kubernetes.
    in_compose, own = (
        [line for line in command[2].strip().splitlines() if "$" not in line]
        for command in (compose["redis"]["command"], main_container(default, "redis")["command"])
    )
    assert own == in_compose


def test_skipped_checks_have_reason(default: tuple[Object, ...], production: tuple[Object, ...]) -> None:
    for item in (*default, *production):
        for key, value in item["metadata"].get("annotations", {}).items():
            assert re.fullmatch(r"checkov\.io/skip\d+", key), key
            assert re.fullmatch(r"CKV2?_K8S_\d+=\S.{15,}\.", value), value


def test_names_in_kubernetes_page_exist(default: tuple[Object, ...]) -> None:
    page = (ROOT / "docs/how-to/kubernetes.md").read_text()
    kinds = {
        "deployment": "Deployment",
        "statefulset": "StatefulSet",
        "service": "Service",
        "cronjob": "CronJob",
    }
    for kind, name in re.findall(rf"\b({'|'.join(kinds)})/([a-z][a-z0-9-]+)", page):
        assert name in named(default, kinds[kind]), f"{kind}/{name}"
    for path in re.findall(r"`((?:base|components|overlays)/[a-z./-]+)`", page):
        assert (K8S / path).exists(), path
    for name in re.findall(r"kubectl (?:get|patch) secret ([a-z]+)", page):
        assert name in named(default, "ConfigMap")["secret-templates"]["data"]
    for selector in re.findall(r"--selector app\.kubernetes\.io/name=(\w+)", page):
        selected = [item["metadata"]["labels"].get("app.kubernetes.io/name") for item in default]
        assert selector in selected


def test_names_in_next_steps_of_doctor_exist(default: tuple[Object, ...]) -> None:
    steps = " ".join(astuple(doctor.KUBERNETES))
    pods = re.findall(r"pod (\w+)-0", steps)
    assert set(pods) == set(named(default, "StatefulSet"))
    names = {labels(pod)["app.kubernetes.io/name"] for pod in manifests.pods(default).values()}
    assert set(re.findall(r"app\.kubernetes\.io/name=(\w+)", steps)) == {"migrate", "worker"} <= names
    assert (ROOT / doctor.KUBERNETES.redis_settings).exists()
