"""The Kubernetes manifests against their schemas, the contracts and the rules that they are to keep."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from flower.options import default_options
from flower.urls import handlers

from api.exporter.settings import ExporterSettings
from api.settings import ApiSettings
from app.settings import WorkerSettings
from contracts import network
from contracts.names import Queue
from deploy import prometheus_rule
from deploy.images import SERVICES, tag
from deploy.k8s.base.secrets.generate import values
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

# One process renders them all.
pytestmark = pytest.mark.xdist_group("k8s")

NAMESPACE = "issuetracker"
QUEUES = sorted(Queue)
WORKERS = [f"worker-{queue}" for queue in QUEUES]
LONG_RUNNING = ["api", "exporter", "flower", "postgres", "redis", *WORKERS]
SCHEMAS = {file.stem: json.loads(file.read_text()) for file in (ROOT / "tests/deploy/schemas").glob("*.json")}
KUBERNETES = ("1.34", "1.37")


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Object, ...]]:
    """The default, each overlay, and each combination of components."""
    directory = tmp_path_factory.mktemp("overlays")
    roots = {"default": DEFAULT, **{overlay.name: overlay for overlay in OVERLAYS}}
    for number, components in enumerate(manifests.subsets()):
        roots["+".join(components) or "none"] = manifests.write_overlay(directory / str(number), components)
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(roots, pool.map(manifests.render, roots.values()), strict=True))


@pytest.fixture(scope="session")
def everywhere(rendered: dict[str, tuple[Object, ...]]) -> list[tuple[str, tuple[Object, ...]]]:
    return list(rendered.items())


@pytest.fixture(scope="session")
def default() -> tuple[Object, ...]:
    return manifests.render(DEFAULT)


@pytest.fixture(scope="session")
def production() -> tuple[Object, ...]:
    return manifests.render(K8S / "overlays/production")


def each_container(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object, Object]]:
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
def _valid(kind: str, text: str) -> None:
    if kind in SCHEMAS:
        jsonschema.validate(json.loads(text), SCHEMAS[kind])
        return
    for release in KUBERNETES:
        kubernetes_validate.validate(json.loads(text), release, strict=True)


class TestEverywhere:
    """In the default, in each overlay and in each combination of components."""

    def test_schemas(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        for _, objects in everywhere:
            for item in objects:
                _valid(item["kind"], json.dumps(item, sort_keys=True))

    def test_names_are_unique_and_in_one_namespace(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        for where, objects in everywhere:
            counted = Counter((item["kind"], item["metadata"]["name"]) for item in objects)
            assert max(counted.values()) == 1, where
            for item in objects:
                expected = None if item["kind"] == "Namespace" else NAMESPACE
                assert item["metadata"].get("namespace") == expected, f"{where}: {item['metadata']['name']}"

    def test_selectors_match(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        for where, objects in everywhere:
            pods = manifests.pods(objects)
            for name, workload in manifests.workloads(objects).items():
                if workload["kind"] in {"Deployment", "StatefulSet"}:
                    selected = [
                        other for other in pods if matches(workload["spec"]["selector"], labels(pods[other]))
                    ]
                    assert selected == [name], f"{where}: {name}"
            for kind in ("Service", "PodDisruptionBudget", "PodMonitor"):
                for name, item in named(objects, kind).items():
                    selector = item["spec"]["selector"]
                    selector = {"matchLabels": selector} if kind == "Service" else selector
                    selected = [other for other in pods if matches(selector, labels(pods[other]))]
                    assert selected, f"{where}: {kind} {name}"
                    assert kind == "PodMonitor" or selected == [name], f"{where}: {kind} {name}"
            for name, item in named(objects, "NetworkPolicy").items():
                selected = [other for other in pods if matches(item["spec"]["podSelector"], labels(pods[other]))]
                assert selected, f"{where}: NetworkPolicy {name}"

    def test_ports_are_there(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        for where, objects in everywhere:
            for name, selector, port in _wanted_ports(objects):
                for owner, pod in manifests.pods(objects).items():
                    if matches(selector, labels(pod)):
                        assert port in _ports(pod), f"{where}: {name} wants port {port} of {owner}"

    def test_what_is_referred_to_is_there(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        for where, objects in everywhere:
            there = {kind: set(named(objects, kind)) for kind in ("ConfigMap", "PersistentVolumeClaim")}
            for name, pod in manifests.pods(objects).items():
                assert pod["spec"]["serviceAccountName"] in named(objects, "ServiceAccount"), f"{where}: {name}"
                for volume in pod["spec"].get("volumes", []):
                    assert set(volume) - {"name"} <= {"configMap", "emptyDir", "persistentVolumeClaim"}
                    wanted = volume.get("configMap", {}).get("name")
                    assert wanted is None or wanted in there["ConfigMap"], f"{where}: {name}"
                    claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                    assert claim is None or claim in there["PersistentVolumeClaim"], f"{where}: {name}"
            for name, _, container in each_container(objects):
                for source in container.get("envFrom", []):
                    assert source["configMapRef"]["name"] in there["ConfigMap"], f"{where}: {name}"
            for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
                for name, item in named(objects, kind).items():
                    assert item["spec"]["scaleTargetRef"]["name"] == name
                    assert name in named(objects, "Deployment"), f"{where}: {kind} {name}"

    def test_every_secret_is_made_or_brought(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        for where, objects in everywhere:
            assert not named(objects, "Secret"), where
            templates = named(objects, "ConfigMap").get("secret-templates", {"data": {}})["data"]
            made = {name: values(text, NAMESPACE) for name, text in templates.items()}
            brought = {
                "database": {"DATABASE_URL"} if "external-postgres" in where else set(),
                "broker": {"CELERY_BROKER_URL"} if "external-redis" in where else set(),
            }
            for name, key, optional in _secret_keys(objects):
                if optional:
                    continue
                own = "own-secrets" in where or where == "production"
                assert own or key in made.get(name, brought.get(name, ())), f"{where}: {name} {key}"
            assert ("own-secrets" in where or where == "production") == (not named(objects, "Role"))

    def test_each_queue_has_all_that_it_needs(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        for where, objects in everywhere:
            deployments = named(objects, "Deployment")
            assert sorted(name for name in deployments if name.startswith("worker-")) == WORKERS
            keda = "keda" in where or where == "production"
            for queue in QUEUES:
                name = f"worker-{queue}"
                (container,) = deployments[name]["spec"]["template"]["spec"]["containers"]
                assert container["args"] == [f"--queues={queue}", f"--hostname={queue}@%h"]
                assert name in named(objects, "PodDisruptionBudget")
                assert (name in named(objects, "ScaledObject")) == keda, where
                assert (name in named(objects, "HorizontalPodAutoscaler")) != keda, where
                if keda:
                    (trigger,) = named(objects, "ScaledObject")[name]["spec"]["triggers"]
                    assert f"queue = '{queue}' AND" in trigger["metadata"]["query"]
                    concurrency = config(objects, "settings")["data"]["WORKER_CONCURRENCY"]
                    assert trigger["metadata"]["targetQueryValue"] == concurrency

    def test_hardening(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        for where, objects in everywhere:
            (namespace,) = named(objects, "Namespace").values()
            assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
            for name, pod in manifests.pods(objects).items():
                spec = pod["spec"]
                assert spec["securityContext"]["runAsNonRoot"] is True, f"{where}: {name}"
                assert spec["securityContext"]["runAsUser"] >= 999, f"{where}: {name}"
                assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, f"{where}: {name}"
                assert spec["enableServiceLinks"] is False, f"{where}: {name}"
                assert spec["automountServiceAccountToken"] is name.startswith("secrets"), f"{where}: {name}"
                assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(spec)
            for name, _, container in each_container(objects):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                }, f"{where}: {name}"

    def test_resources(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        for where, objects in everywhere:
            for name, pod, container in each_container(objects):
                requests, limits = (container["resources"][kind] for kind in ("requests", "limits"))
                for resource in ("cpu", "memory"):
                    assert 0 < quantity(requests[resource]) <= quantity(limits[resource]), f"{where}: {name}"
                # What is written to memory counts.
                memory = sum(
                    quantity(volume["emptyDir"]["sizeLimit"])
                    for volume in pod["spec"].get("volumes", [])
                    if volume.get("emptyDir", {}).get("medium") == "Memory"
                )
                assert memory < quantity(limits["memory"]) / 2
                for volume in pod["spec"].get("volumes", []):
                    assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], f"{where}: {name}"

    def test_images(self, everywhere: list[tuple[str, tuple[Object, ...]]]) -> None:
        expected = {*(tag(service) for service in SERVICES), "pgvector/pgvector:pg17", "redis:8"}
        for where, objects in everywhere:
            for name, _, container in each_container(objects):
                image = container["image"].removeprefix("registry.example.com/")
                assert image in expected, f"{where}: {name}"
                assert container["imagePullPolicy"] == "IfNotPresent", f"{where}: {name}"

    def test_jobs_never_change_but_with_the_release(
        self, everywhere: list[tuple[str, tuple[Object, ...]]]
    ) -> None:
        for where, objects in everywhere:
            jobs = named(objects, "Job")
            assert set(jobs) <= {MIGRATE, SECRETS}, where
            assert MIGRATE in jobs, where
            for name, job in jobs.items():
                pod = manifests.template(job)
                referred = [volume["configMap"]["name"] for volume in pod["spec"].get("volumes", [])]
                assert set(referred) <= {"secret-generator", "secret-templates"}, f"{where}: {name}"
                assert not any("envFrom" in container for container in containers(pod)), f"{where}: {name}"
                assert "app.kubernetes.io/version" not in labels(pod), f"{where}: {name}"


def _ports(pod: Object) -> set[str | int]:
    listed = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    return {port["name"] for port in listed} | {port["containerPort"] for port in listed}


def _wanted_ports(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object, str | int]]:
    for name, service in named(objects, "Service").items():
        for port in service["spec"]["ports"]:
            yield f"Service {name}", {"matchLabels": service["spec"]["selector"]}, port["targetPort"]
    for name, monitor in named(objects, "PodMonitor").items():
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            yield f"PodMonitor {name}", monitor["spec"]["selector"], endpoint["port"]
    for name, policy in named(objects, "NetworkPolicy").items():
        for selector, ports in _ruled(policy["spec"]):
            yield from ((f"NetworkPolicy {name}", selector, port["port"]) for port in ports)


def _ruled(policy: Object) -> Iterator[tuple[Object, list[Object]]]:
    """Yield which pods a policy's rules are about, with their ports."""
    for rule in policy.get("ingress", []):
        yield policy["podSelector"], rule["ports"]
    for rule in policy.get("egress", []):
        for peer in rule.get("to", []):
            if set(peer) == {"podSelector"}:
                yield peer["podSelector"], rule["ports"]


def _secret_keys(objects: tuple[Object, ...]) -> Iterator[tuple[str, str, bool]]:
    for _, _, container in each_container(objects):
        for variable in container.get("env", []):
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["secretKeyRef"]
                yield reference["name"], reference["key"], reference.get("optional", False)


def test_what_there_is(default: tuple[Object, ...]) -> None:
    kinds = {name: workload["kind"] for name, workload in manifests.workloads(default).items()}
    assert kinds == {
        **dict.fromkeys(["api", "exporter", "flower", *WORKERS], "Deployment"),
        **dict.fromkeys(["postgres", "redis"], "StatefulSet"),
        **dict.fromkeys([MIGRATE, SECRETS], "Job"),
        **dict.fromkeys(["backup", "restore"], "CronJob"),
    }
    assert set(named(default, "HorizontalPodAutoscaler")) == {"api", *WORKERS}


def test_the_default_needs_no_custom_resources(default: tuple[Object, ...]) -> None:
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
        # A node that is slow for half a minute restarts nobody.
        liveness = container["livenessProbe"]
        assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 60, name


def test_probes_are_those_of_the_contracts(default: tuple[Object, ...]) -> None:
    for name in WORKERS:
        container = main_container(default, name)
        assert tuple(container["startupProbe"]["exec"]["command"]) == network.WORKER_LIVENESS_PROBE
        assert tuple(container["livenessProbe"]["exec"]["command"]) == network.WORKER_LIVENESS_PROBE
        assert tuple(container["readinessProbe"]["exec"]["command"]) == network.WORKER_READINESS_PROBE
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert network.HEARTBEAT_DIRECTORY in mounts
    api = main_container(default, "api")
    # Only a start looks at the database: no outage of it takes replicas away, or restarts them.
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


def test_ports_are_those_of_the_contracts(default: tuple[Object, ...]) -> None:
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
    """Return who may reach whom among the pods, by name, as the policies of one direction say."""
    pods, found = manifests.pods(objects), set()
    for policy in named(objects, "NetworkPolicy").values():
        own = [name for name, pod in pods.items() if matches(policy["spec"]["podSelector"], labels(pod))]
        for rule in policy["spec"].get(direction, []):
            for peer in rule.get("from" if direction == "ingress" else "to", []):
                if set(peer) != {"podSelector"}:
                    continue
                others = [name for name, pod in pods.items() if matches(peer["podSelector"], labels(pod))]
                for port in rule["ports"]:
                    pairs = ((a, b) for a in own for b in others)
                    found |= {
                        (b, a, port["port"]) if direction == "ingress" else (a, b, port["port"]) for a, b in pairs
                    }
    return found


def test_only_those_who_must_reach_a_server(default: tuple[Object, ...]) -> None:
    to_postgres = {"api", "exporter", *WORKERS, MIGRATE, "backup", "restore"}
    to_redis = {"api", "exporter", "flower", *WORKERS}
    expected = {(name, "postgres", network.POSTGRES_PORT) for name in to_postgres}
    expected |= {(name, "redis", network.REDIS_PORT) for name in to_redis}
    assert _allowed(default, "egress") == expected
    assert _allowed(default, "ingress") == expected


def test_the_rest_of_the_network_is_closed(default: tuple[Object, ...]) -> None:
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
    """Return the environment that a container gets, with Secrets as they are made."""
    templates = named(objects, "ConfigMap")["secret-templates"]["data"]
    secrets = {name: values(text, NAMESPACE) for name, text in templates.items()}
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


def test_every_variable_is_a_setting(default: tuple[Object, ...]) -> None:
    api, worker = ({name.upper() for name in cls.model_fields} for cls in (ApiSettings, WorkerSettings))
    for name in config(default, "settings")["data"]:
        assert name in api | worker, name
    flower = {f"FLOWER_{name.upper()}" for name in default_options}
    servers = {
        "postgres": {"PGDATA", "POSTGRES_INITDB_ARGS", "POSTGRES_PASSWORD", "ISSUETRACKER_PASSWORD"},
        "redis": {"REDISCLI_AUTH"},
    }
    known = {
        "api": api,
        "exporter": {name.upper() for name in ExporterSettings.model_fields},
        "flower": flower | {"CELERY_BROKER_URL"},
        **dict.fromkeys(WORKERS, worker),
        **servers,
    }
    for name in LONG_RUNNING:
        given = {variable["name"] for variable in main_container(default, name).get("env", [])}
        assert given <= known[name], name
    for name, _, container in each_container(default):
        if not name.endswith(tuple(f"/{owner}" for owner in ("api", "exporter", "worker", "flower", *servers))):
            assert {variable["name"] for variable in container.get("env", [])} <= {"DATABASE_URL"}, name


@pytest.mark.parametrize(
    ("name", "cls"),
    [("api", ApiSettings), ("exporter", ExporterSettings), *((worker, WorkerSettings) for worker in WORKERS)],
)
def test_the_settings_are_accepted_and_complete(
    name: str,
    cls: type[ApiSettings | WorkerSettings],
    default: tuple[Object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in _environment(default, main_container(default, name)).items():
        monkeypatch.setenv(variable, value)

    settings = cls(_env_file=None)

    assert {"database_url", "celery_broker_url", "log_format"} <= settings.model_fields_set
    assert re.search(
        rf":[0-9a-f]{{40}}@postgres\.{NAMESPACE}\.svc:{network.POSTGRES_PORT}/", settings.database_url
    )
    broker = rf":[0-9a-f]{{40}}@redis\.{NAMESPACE}\.svc:{network.REDIS_PORT}/{network.BROKER_DB}$"
    assert re.search(broker, settings.celery_broker_url)


def test_a_changed_setting_rolls_what_reads_it_and_changes_no_job(
    default: tuple[Object, ...], tmp_path: Path
) -> None:
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


def test_grace_periods(default: tuple[Object, ...]) -> None:
    pods = manifests.pods(default)
    settings = config(default, "settings")["data"]
    for name in WORKERS:
        assert pods[name]["spec"]["terminationGracePeriodSeconds"] > float(settings["TASK_TIME_LIMIT"]) + 15
    dockerfile = (ROOT / "services/api/Dockerfile").read_text()
    graceful = int(re.findall(r'"--timeout-graceful-shutdown", "(\d+)"', dockerfile)[0])
    (api,) = pods["api"]["spec"]["containers"]
    assert "command" not in api
    pause = api["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pods["api"]["spec"]["terminationGracePeriodSeconds"] >= pause + graceful + 10
    readiness = api["readinessProbe"]
    assert pause >= readiness["periodSeconds"]


def test_an_update_takes_no_capacity_away(default: tuple[Object, ...]) -> None:
    for name in ["api", *WORKERS]:
        strategy = named(default, "Deployment")[name]["spec"]["strategy"]
        assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_who_scales_says_how_many(default: tuple[Object, ...]) -> None:
    for name in named(default, "HorizontalPodAutoscaler"):
        assert "replicas" not in named(default, "Deployment")[name]["spec"]
    assert named(default, "HorizontalPodAutoscaler")["api"]["spec"]["minReplicas"] == 2


def test_no_budget_blocks_a_drain_for_ever(default: tuple[Object, ...]) -> None:
    budgets = named(default, "PodDisruptionBudget")
    assert set(budgets) == {"api", *WORKERS}
    for name, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1, name
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow", name


def test_all_replicas_together_fit_into_the_servers_connections(production: tuple[Object, ...]) -> None:
    default = manifests.render(DEFAULT)
    settings = config(default, "settings")["data"]
    most = {name: item["spec"]["maxReplicas"] for name, item in named(default, "HorizontalPodAutoscaler").items()}
    scaled = {name: item["spec"]["maxReplicaCount"] for name, item in named(production, "ScaledObject").items()}
    assert {name: most[name] for name in WORKERS} == scaled
    # Two a child, for its task and its heartbeat, and two of the main process; one pod more while an update runs.
    a_worker = 2 * (int(settings["WORKER_CONCURRENCY"]) + 1)
    connections = (most["api"] + 1) * int(settings["DATABASE_POOL_SIZE"])
    connections += sum((most[name] + 1) * a_worker for name in WORKERS)
    arguments = main_container(default, "postgres")["args"]
    (bound,) = [int(word.split("=")[1]) for word in arguments if word.startswith("max_connections=")]
    # Three are the superuser's; migration, waiting, backup and scalers need a few.
    assert connections + 10 <= bound - 3


def test_all_else_waits_for_the_schema(default: tuple[Object, ...]) -> None:
    for name, need in [
        ("api", "schema"),
        ("exporter", "schema"),
        *((worker, "schema") for worker in WORKERS),
        (MIGRATE, "database"),
    ]:
        (first, *_) = manifests.pods(default)[name]["spec"]["initContainers"]
        assert first["command"] == ["python", "-m", "api.wait_for", need]
        assert first["image"] == tag("api")


def test_the_secrets_job_may_create_secrets_and_nothing_else(default: tuple[Object, ...]) -> None:
    (role,) = named(default, "Role").values()
    assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
    (binding,) = named(default, "RoleBinding").values()
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "secrets", "namespace": NAMESPACE}]
    assert not {item["kind"] for item in default} & {"ClusterRole", "ClusterRoleBinding"}


def test_servers_of_ones_own(rendered: dict[str, tuple[Object, ...]]) -> None:
    objects = rendered["external-postgres+external-redis"]
    assert not named(objects, "StatefulSet")
    assert set(named(objects, "Service")) == {"api", "flower"}
    assert set(named(objects, "ConfigMap")["secret-templates"]["data"]) == {"access", "flower"}
    for name, port in (("to-postgres", network.POSTGRES_PORT), ("to-redis", network.REDIS_PORT)):
        (rule,) = named(objects, "NetworkPolicy")[name]["spec"]["egress"]
        assert rule["to"] == [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]
        assert rule["ports"] == [{"protocol": "TCP", "port": port}]


def _routed(ingress: Object, path: str) -> bool:
    (rule,) = ingress["spec"]["rules"]
    for routed in rule["http"]["paths"]:
        prefix = routed["path"].rstrip("/") + "/"
        if path == routed["path"] or (routed["pathType"] == "Prefix" and path.startswith(prefix)):
            return True
    return False


def test_an_ingress_routes_what_is_for_people_and_nothing_else(rendered: dict[str, tuple[Object, ...]]) -> None:
    ingresses = named(rendered["ingress"], "Ingress")
    for path in ("/", "/static/page.js", "/api/v1/issues", "/docs", "/openapi.json"):
        assert _routed(ingresses["api"], path), path
    for path in (network.METRICS_PATH, network.LIVENESS_PATH, network.READINESS_PATH):
        assert not _routed(ingresses["api"], path), path
    patterns = [str(item[0]) if isinstance(item, tuple) else item.regex.pattern for item in handlers]
    for pattern in set(patterns) - {".*"}:
        path = re.sub(r"\(\.[+*]\)|/\?$|\$$", "", pattern)
        path = path if path == "/" else path.rstrip("/")
        inside = path in {"/metrics", "/healthcheck"}
        assert _routed(ingresses["flower"], path) is not inside, pattern
    for ingress in ingresses.values():
        services = named(rendered["ingress"], "Service")
        hosts = {host for entry in ingress["spec"]["tls"] for host in entry["hosts"]}
        for rule in ingress["spec"]["rules"]:
            assert rule["host"] in hosts
            for routed in rule["http"]["paths"]:
                backend = routed["backend"]["service"]
                assert backend["port"] == {"name": services[backend["name"]]["spec"]["ports"][0]["name"]}


def test_monitors_watch_where_metrics_are(rendered: dict[str, tuple[Object, ...]]) -> None:
    objects = rendered["monitoring"]
    for name, monitor in named(objects, "PodMonitor").items():
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["path"] == network.METRICS_PATH, name
    watched = set(named(objects, "PodMonitor"))
    assert watched == {"api", "exporter", "flower", "worker"}
    policies = [named(objects, "NetworkPolicy")[name]["spec"] for name in ("metrics", "metrics-ports")]
    let_in = [name for policy in policies for name in policy["podSelector"]["matchExpressions"][0]["values"]]
    assert set(let_in) == watched


def test_alerts_are_those_of_compose() -> None:
    assert prometheus_rule.OBJECT.read_text() == prometheus_rule.prometheus_rule(), "run make rules"


def test_the_release_has_one_place(production: tuple[Object, ...]) -> None:
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
    for name, _, container in each_container(production):
        if container["image"].rpartition("/")[2].startswith("issuetracker-"):
            assert container["image"].startswith("registry.example.com/issuetracker-"), name


def test_databases_are_set_up_as_in_compose(default: tuple[Object, ...]) -> None:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose/servers.yaml").read_text())["services"]
    given = _environment(default, main_container(default, "postgres"))
    assert given["POSTGRES_INITDB_ARGS"] == compose["postgres"]["environment"]["POSTGRES_INITDB_ARGS"]
    config_file = compose["redis"]["command"][2].replace("$$", "$")
    assert main_container(default, "redis")["command"][2].strip() == config_file.strip()


def test_every_skipped_check_says_why(default: tuple[Object, ...], production: tuple[Object, ...]) -> None:
    for item in (*default, *production):
        for key, value in item["metadata"].get("annotations", {}).items():
            assert re.fullmatch(r"checkov\.io/skip\d+", key), key
            assert re.fullmatch(r"CKV2?_K8S_\d+=\S.{15,}\.", value), value


def test_what_the_page_for_operators_names_is_there(default: tuple[Object, ...]) -> None:
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
