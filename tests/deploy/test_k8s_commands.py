"""The commands of docs/how-to/kubernetes.md, run by the real `kubectl` on an API server of the tests."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.support import manifests
from tests.support.kube_api import NAMESPACE, ApiServer, run_api_server
from tests.support.processes import ROOT
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.xdist_group("k8s")

PAGE = (ROOT / "docs/how-to/kubernetes.md").read_text()
LOG = "the output of the Job\n"
NEEDS_CLUSTER = r"kubectl (exec|apply|delete)"
"""Commands that the API server of the tests does not serve."""


def find_blocks(heading: str) -> list[str]:
    """Return the `sh` blocks of a section of the page, without commands that need a cluster."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [
        "".join(line for line in block.splitlines(keepends=True) if not re.match(NEEDS_CLUSTER, line))
        for block in blocks
    ]


@dataclass(frozen=True)
class Cluster:
    """An API server and the environment of its users."""

    server: ApiServer
    env: Mapping[str, str]

    def run(self, script: str) -> str:
        """Run a block of the page and return its output."""
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def replicas(self) -> dict[str, int]:
        """Return the replicas of the Deployments and StatefulSets."""
        kinds = ("deployments", "statefulsets")
        objects = list(self.server.objects.items())  # the server may add a pod meanwhile
        return {name: item["spec"].get("replicas", 1) for (kind, name), item in objects if kind in kinds}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    objects = yaml.safe_load(yaml.safe_dump(manifests.render(manifests.DEFAULT)))
    with run_api_server(objects, LOG) as server:
        config = {
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "namespace": NAMESPACE}}],
            "current-context": "test",
        }
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        yield Cluster(server, {**os.environ, "PATH": path, "HOME": str(tmp_path), "KUBECONFIG": str(file)})


def test_backup_commands_print_log_each_time(cluster: Cluster) -> None:
    script = find_blocks("Back up and restore")[0]

    first, second = cluster.run(script), cluster.run(script)

    assert first.endswith(LOG)
    assert second.endswith(LOG)
    assert len([kind for kind, _ in list(cluster.server.objects) if kind == "jobs"]) == 4


def test_restore_commands_print_log_and_start_everything(cluster: Cluster) -> None:
    output = cluster.run(find_blocks("Back up and restore")[1])

    assert LOG in output
    assert set(cluster.replicas().values()) == {1}


def test_commands_of_stop_and_start_scale_everything(cluster: Cluster) -> None:
    *stop, start = find_blocks("Uninstall")[0].splitlines()

    cluster.run("\n".join(stop))
    assert set(cluster.replicas().values()) == {0}
    cluster.run(start)
    assert set(cluster.replicas().values()) == {1}


def test_image_commands_cover_every_image(tmp_path: Path) -> None:
    images = {
        container["image"]
        for pod in manifests.pods(manifests.render(manifests.DEFAULT)).values()
        for container in manifests.containers(pod)
    }
    for name in ("docker", "kind", "minikube", "sudo"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >>"{tmp_path}/calls"\n')
        program.chmod(0o755)
    pull, load, *_ = find_blocks("Install")

    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-e", "-c", pull + load], cwd=ROOT, env={**os.environ, "PATH": path}, check=True)

    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert len(images) == 5
    assert {call[2] for call in calls if call[:2] == ["docker", "pull"]} == {"pgvector/pgvector:pg17", "redis:8"}
    assert {call[3] for call in calls if call[:3] == ["minikube", "image", "load"]} == images
    for command in (["docker", "save"], ["kind", "load", "docker-image"]):
        (call,) = [call for call in calls if call[: len(command)] == command]
        assert set(call[len(command) :]) == images
