"""The Kubernetes manifests, rendered by `kubectl kustomize`."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import yaml

from deploy.images import version
from tests.support import servers
from tests.support.processes import ROOT, tool

K8S = ROOT / "deploy/k8s"
DEFAULT = K8S
OVERLAYS = sorted(path.parent for path in (K8S / "overlays").glob("*/kustomization.yaml"))
OPTIONAL = (
    *("keda", "autoscaler", "monitoring", "monitoring-plain", "ingress", "flower-ingress"),
    *("external-postgres", "external-redis", "own-secrets"),
)
"""The optional components of an overlay. Every installation has `workers` and `release`."""

Object = dict[str, Any]

RELEASE = version().replace(".", "-")
MIGRATE, SECRETS = f"migrate-{RELEASE}", f"secrets-{RELEASE}"
"""The Jobs of a release."""


def selections() -> list[tuple[str, ...]]:
    """Return selections of the optional components: none, each, each pair, and all in both orders.

    `make test-containers` has each pair in both orders. A build takes half a second of CPU time.
    """
    choose = permutations if servers.kind() == "containers" else combinations
    few = [selection for size in range(3) for selection in choose(OPTIONAL, size)]
    return [*few, OPTIONAL, OPTIONAL[::-1]]


@cache
def render(directory: Path) -> tuple[Object, ...]:
    """Return the objects of a kustomization."""
    command = [tool("kubectl"), "kustomize", str(directory)]
    # The garbage collection of Go takes a third of the CPU time of this short program.
    environment = {**os.environ, "GOGC": "off"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return tuple(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


def write_overlay(directory: Path, components: Iterable[str], **more: Any) -> Path:
    """Write a kustomization of the base, the workers, these components and the release into an empty directory."""
    return write_kustomization(directory, ("workers", *components, "release"), **more)


def write_kustomization(directory: Path, components: Iterable[str], **more: Any) -> Path:
    """Write a kustomization of the base and exactly these components into an empty directory."""
    start = os.path.relpath(K8S, directory.resolve())
    overlay = {
        "resources": [f"{start}/base"],
        "components": [f"{start}/components/{name}" for name in components],
        **more,
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return directory


def named(objects: Iterable[Object], kind: str) -> dict[str, Object]:
    """Return the objects of a kind by their names."""
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def template(workload: Object) -> Object:
    """Return the pod template of a Deployment, StatefulSet, Job or CronJob."""
    spec = workload["spec"]["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else workload["spec"]
    found: Object = spec["template"]
    return found


def workloads(objects: Iterable[Object]) -> dict[str, Object]:
    """Return the workloads by name."""
    kinds = ("Deployment", "StatefulSet", "Job", "CronJob")
    found = [workload for workload in objects if workload["kind"] in kinds]
    names = [workload["metadata"]["name"] for workload in found]
    assert len(names) == len(set(names))
    return dict(zip(names, found, strict=True))


def pods(objects: Iterable[Object]) -> dict[str, Object]:
    """Return the pod templates by the names of their workloads."""
    return {name: template(workload) for name, workload in workloads(objects).items()}


def containers(pod: Object) -> Iterator[Object]:
    """Yield the containers of a pod template, init containers first."""
    yield from pod["spec"].get("initContainers", [])
    yield from pod["spec"]["containers"]


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a label selector matches these labels."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def labels(pod: Object) -> dict[str, str]:
    """Return the labels of a pod template."""
    found: dict[str, str] = pod["metadata"]["labels"]
    return found


def quantity(value: str | float) -> float:
    """Return a resource quantity as a number: cores or bytes."""
    units = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    text = str(value)
    for unit, factor in units.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)
