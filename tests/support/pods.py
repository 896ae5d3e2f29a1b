"""Pods of the rendered manifests as containers, without a cluster.

Image, command, environment, security context, memory, volumes, network names and probes come from the manifests.
A claim is a directory of root that every user can write to, like a host-path volume, which ignores fsGroup.
Scheduling, network policies and restarts are missing. The seccomp profile is that of Docker.
"""

import base64
import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import manifests
from tests.support.docker import docker, log
from tests.support.manifests import Object, labels, matches, named, quantity
from tests.support.ports import free_port
from tests.support.waiting import wait_until

API_SERVER = Path(__file__).with_name("api_server.py")
NAMESPACE = "issuetracker"


class Node:
    """One network, one directory of volumes, and the containers of pods."""

    def __init__(self, objects: Iterable[Object], images: Mapping[str, str], directory: Path) -> None:
        self.objects = tuple(objects)
        self.pods = manifests.pods(self.objects)
        self.name = f"issuetracker-k8s-{free_port()}"
        self._images, self._directory = images, directory
        self._cluster = self._new_directory("cluster")
        self._new_directory("cluster/secrets")
        self._containers: list[str] = []
        docker("network", "create", self.name)
        self._make_account()

    def _new_directory(self, name: str) -> Path:
        path = self._directory / name
        path.mkdir(exist_ok=True)
        # The permissions of a host-path volume.
        path.chmod(0o777)
        return path

    def close(self) -> None:
        """Remove the containers, the network and the files, which belong to users of the containers."""
        for name in self._containers:
            docker("rm", "--force", "--volumes", name, check=False)
        wipe = ("run", "--rm", "--user=0", f"--volume={self._directory}:/all", self._images["redis:8"])
        docker(*wipe, "find", "/all", "-mindepth", "1", "-delete", check=False)
        docker("network", "rm", self.name, check=False)

    def _make_account(self) -> None:
        """Write the files of a service account and the key of the API server."""
        (self._cluster / "token").write_text(os.urandom(20).hex())
        (self._cluster / "namespace").write_text(NAMESPACE)
        mount, image = f"--volume={self._cluster}:/cluster", self._images["issuetracker-api"]
        run = ("run", "--rm", "--user=0", "--workdir=/cluster", mount, image)
        # Like those of Amazon EKS, the certificates have no key identifiers.
        options = ("-addext=subjectKeyIdentifier=none", "-addext=authorityKeyIdentifier=none", "-days=1")
        new = ("openssl", "req", "-x509", "-newkey=rsa:2048", "-nodes", *options)
        docker(*run, *new, "-subj=/CN=authority", "-keyout=ca.key", "-out=ca.crt")
        name = ("-subj=/CN=kubernetes", "-addext=subjectAltName=DNS:kubernetes", "-extensions=v3_req")
        signer = ("-CA=ca.crt", "-CAkey=ca.key")
        docker(*run, *new, *name, *signer, "-keyout=server.key", "-out=server.crt")

    def start_api_server(self) -> None:
        """Start the fake API server."""
        mount, image = f"--volume={self._cluster}:/cluster", self._images["issuetracker-api"]
        name = f"{self.name}-api-server"
        self._containers.append(name)
        network = (f"--network={self.name}", "--network-alias=kubernetes")
        script = f"--volume={API_SERVER}:/api_server.py:ro"
        run = ("run", "--detach", f"--name={name}", "--user=0", *network, mount, script, image)
        docker(*run, "python", "/api_server.py", "/cluster")

    def secrets(self) -> dict[str, dict[str, str]]:
        """Return the existing Secrets, decoded."""
        return {
            file.stem: {
                key: base64.b64decode(value).decode()
                for key, value in json.loads(file.read_text())["data"].items()
            }
            for file in (self._cluster / "secrets").glob("*.json")
        }

    def change_secret(self, name: str, entries: Mapping[str, str]) -> None:
        """Change entries of a Secret, as `kubectl patch secret` does."""
        file = self._cluster / "secrets" / f"{name}.json"
        secret = json.loads(file.read_text())
        secret["data"] |= {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}
        file.write_text(json.dumps(secret))

    def delete_secret(self, name: str) -> None:
        """Delete a Secret, as `kubectl delete secret` does."""
        (self._cluster / "secrets" / f"{name}.json").unlink()

    def claim(self, name: str) -> Path:
        """Return the directory of the volume of a claim."""
        return self._new_directory(f"claim-{name}")

    def _environment(self, container: Object) -> Iterator[tuple[str, str]]:
        for source in container.get("envFrom", []):
            yield from named(self.objects, "ConfigMap")[source["configMapRef"]["name"]]["data"].items()
        secrets = self.secrets()
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference is None:
                yield variable["name"], variable["value"]
            elif not (reference.get("optional") and reference["name"] not in secrets):
                yield variable["name"], secrets[reference["name"]][reference["key"]]

    def _config_map(self, source: Object) -> Path:
        path = self._new_directory(f"config-{source['name']}")
        for name, text in named(self.objects, "ConfigMap")[source["name"]]["data"].items():
            file = path / name
            file.unlink(missing_ok=True)
            file.write_text(text)
            file.chmod(source.get("defaultMode", 0o644))
        path.chmod(0o755)
        return path

    def _mount(self, owner: str, volume: Object, mount: Object) -> str:
        if "emptyDir" in volume:
            size = int(quantity(volume["emptyDir"]["sizeLimit"]))
            return f"--tmpfs={mount['mountPath']}:mode=0777,size={size}"
        if "configMap" in volume:
            source = self._config_map(volume["configMap"])
        else:
            source = self.claim(volume.get("persistentVolumeClaim", {}).get("claimName", owner))
        return f"--volume={source}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}"

    def _mounts(self, owner: str, pod: Object, container: Object) -> Iterator[str]:
        claims = manifests.workloads(self.objects)[owner]["spec"].get("volumeClaimTemplates", [])
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        volumes |= {claim["metadata"]["name"]: {"claim": claim} for claim in claims}
        for mount in container.get("volumeMounts", []):
            yield self._mount(owner, volumes[mount["name"]], mount)
        if pod["spec"]["automountServiceAccountToken"]:
            yield f"--volume={self._cluster}:/var/run/secrets/kubernetes.io/serviceaccount:ro"

    def _confinement(self, pod: Object, container: Object) -> Iterator[str]:
        context, container_context = pod["spec"]["securityContext"], container["securityContext"]
        yield f"--user={context['runAsUser']}:{context['runAsGroup']}"
        if "fsGroup" in context:
            yield f"--group-add={context['fsGroup']}"
        if container_context["readOnlyRootFilesystem"]:
            yield "--read-only"
        yield from (f"--cap-drop={name}" for name in container_context["capabilities"]["drop"])
        if not container_context["allowPrivilegeEscalation"]:
            yield "--security-opt=no-new-privileges"
        memory = int(quantity(container["resources"]["limits"]["memory"]))
        yield from (f"--memory={memory}", f"--memory-swap={memory}")

    def _names(self, pod: Object) -> Iterator[str]:
        for name, service in named(self.objects, "Service").items():
            if matches({"matchLabels": service["spec"]["selector"]}, labels(pod)):
                yield from (f"--network-alias={alias}" for alias in (name, f"{name}.{NAMESPACE}.svc"))

    def run(self, owner: str, container: Object, *, suffix: str = "", **extra_environment: str) -> str:
        """Start a container of a pod and return its name. Add `extra_environment` to its environment."""
        pod = self.pods[owner]
        name = f"{self.name}-{owner}-{container['name']}{suffix}"
        self._containers.append(name)
        api_server = {"KUBERNETES_SERVICE_HOST": "kubernetes", "KUBERNETES_SERVICE_PORT": "6443"}
        environment = {**api_server, **dict(self._environment(container)), **extra_environment}
        command, arguments = container.get("command", []), container.get("args", [])
        docker(
            *("run", "--detach", f"--name={name}", f"--network={self.name}", f"--hostname={owner}"),
            *(f"--env={key}={value}" for key, value in environment.items()),
            *(f"--publish=127.0.0.1::{port['containerPort']}" for port in container.get("ports", [])),
            *self._confinement(pod, container),
            *self._mounts(owner, pod, container),
            *self._names(pod),
            *([f"--entrypoint={command[0]}"] if command else []),
            self._images[container["image"]],
            *command[1:],
            *arguments,
        )
        return name

    def init(self, owner: str, number: int = 0, *, suffix: str = "") -> str:
        """Start an init container of a pod, the first by default."""
        return self.run(owner, self.pods[owner]["spec"]["initContainers"][number], suffix=suffix)

    def main(self, owner: str, *, suffix: str = "", **extra_environment: str) -> str:
        """Start the main container of a pod."""
        (container,) = self.pods[owner]["spec"]["containers"]
        return self.run(owner, container, suffix=suffix, **extra_environment)

    def stop(self, name: str, owner: str) -> int:
        """Stop a container within the grace period of its pod and return its exit code."""
        grace = self.pods[owner]["spec"].get("terminationGracePeriodSeconds", 30)
        docker("stop", f"--time={grace}", name)
        return exit_code(name)

    def remove(self, name: str) -> None:
        """Remove a container."""
        docker("rm", "--force", "--volumes", name)

    def port(self, name: str, port: int) -> int:
        """Return the published loopback port of a container port."""
        return int(docker("port", name, f"{port}/tcp").splitlines()[0].rpartition(":")[2])

    def probe(self, name: str, owner: str, kind: str) -> str:
        """Run a probe and return its error, or an empty string."""
        (container,) = self.pods[owner]["spec"]["containers"]
        probe = container[f"{kind}Probe"]
        if "exec" in probe:
            done = subprocess.run(
                ["docker", "exec", name, *probe["exec"]["command"]], capture_output=True, text=True, check=False
            )
            return "" if done.returncode == 0 else f"code {done.returncode}: {done.stdout}{done.stderr}"
        (port,) = [
            port["containerPort"] for port in container["ports"] if port["name"] == probe["httpGet"]["port"]
        ]
        url = f"http://127.0.0.1:{self.port(name, port)}{probe['httpGet']['path']}"
        try:
            urllib.request.urlopen(url, timeout=probe["timeoutSeconds"]).close()
        except OSError as error:
            return f"{url}: {error}"
        return ""

    def wait_probe(self, name: str, owner: str, kind: str) -> None:
        """Wait until a probe passes."""
        wait_until(
            lambda: not self.probe(name, owner, kind),
            lambda: f"the {kind} probe of {owner}: {self.probe(name, owner, kind)}\n{log(name)}",
        )


def exit_code(name: str, timeout_s: float = 240) -> int:
    """Wait until a container has exited and return its exit code."""
    return int(docker("wait", name, timeout_s=timeout_s))


@contextmanager
def node(objects: Iterable[Object], images: Mapping[str, str], directory: Path) -> Iterator[Node]:
    """Yield a node and remove it at the end."""
    made = Node(objects, images, directory)
    try:
        yield made
    finally:
        made.close()
