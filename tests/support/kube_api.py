"""An API server with the objects of a rendering, for `kubectl` get, create, scale, wait and logs.

It runs Jobs like a cluster: some time after the creation of a Job, its container starts, and later it ends. Until
the container starts, the server rejects requests for its log.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.manifests import Object

NAMESPACE = "issuetracker"
RESOURCES = {
    "v1": {"Pod": "pods"},
    "apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
    "batch/v1": {"CronJob": "cronjobs", "Job": "jobs"},
}
PLURALS = {kind: plural for kinds in RESOURCES.values() for kind, plural in kinds.items()}
PATH = re.compile(
    r"/apis?/(?:\w+/)?v1/namespaces/issuetracker/(?P<plural>\w+)(?:/(?P<name>[^/]+))?(?:/(?P<part>\w+))?"
)
STATE_S = 0.5
"""Time that a Job's container needs to start, and to end."""


class ApiServer(ThreadingHTTPServer):
    """Stores objects by plural and name. `log` is the output of each Job."""

    daemon_threads = True

    def __init__(self, objects: Iterable[Object], log: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.log = log
        self.objects: dict[tuple[str, str], Object] = {
            (PLURALS[item["kind"]], item["metadata"]["name"]): item for item in objects if item["kind"] in PLURALS
        }

    def run(self, job: Object) -> None:
        """Run the pod of a Job, and add the condition that Kubernetes adds at its end."""
        name = job["metadata"]["name"]
        time.sleep(STATE_S)
        labels = {"batch.kubernetes.io/job-name": name}
        metadata = {"name": f"{name}-pod", "namespace": NAMESPACE, "labels": labels}
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": [{"name": "main"}]},
        }
        for phase in ("Pending", "Running", "Succeeded"):
            self.objects["pods", f"{name}-pod"] = {**pod, "status": {"phase": phase}}
            time.sleep(STATE_S)
        end = [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]
        self.objects["jobs", name] = {**job, "status": {"conditions": end}}


class Handler(BaseHTTPRequestHandler):
    """Responds to the requests of `kubectl`."""

    server: ApiServer

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Log nothing."""

    def _respond(self, body: Any, code: int = 200) -> None:
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _reject(self, code: int, reason: str, message: str) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
        self._respond({**status, "message": message}, code)

    def _parse(self) -> tuple[str, str, str]:
        match = PATH.fullmatch(urlsplit(self.path).path)
        assert match, self.path
        return match["plural"], match["name"] or "", match["part"] or ""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in DISCOVERY:
            self._respond(DISCOVERY[path])
            return
        if not PATH.fullmatch(path):
            self._reject(404, "NotFound", path)
            return
        plural, name, part = self._parse()
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if not name:
            self._watch(plural, query) if "watch" in query else self._list(plural, query)
        elif (plural, name) not in self.server.objects:
            self._reject(404, "NotFound", f'{plural} "{name}" not found')
        elif part == "log":
            self._log(name)
        else:
            item = self.server.objects[plural, name]
            self._respond(_scale(item) if part == "scale" else item)

    def _log(self, name: str) -> None:
        pod = self.server.objects["pods", name]
        if pod["status"]["phase"] == "Pending":
            text = f"container in pod {name} is waiting to start: ContainerCreating"
            self._reject(400, "BadRequest", text)
        else:
            self._respond(self.server.log)

    def _list(self, plural: str, query: dict[str, str]) -> None:
        items = [item for _, item in self._select(plural, query)]
        version, kind = _type(plural)
        metadata = {"resourceVersion": "1"}
        self._respond({"kind": f"{kind}List", "apiVersion": version, "metadata": metadata, "items": items})

    def _select(self, plural: str, query: dict[str, str]) -> Iterator[tuple[str, Object]]:
        for (owner, name), item in list(self.server.objects.items()):
            field, label = (query.get(f"{kind}Selector", "").partition("=")[2] for kind in ("field", "label"))
            labels = item["metadata"].get("labels", {}).values()
            if owner == plural and field in {"", name} and (not label or label in labels):
                yield name, item

    def _watch(self, plural: str, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        known: dict[str, Object] = {}
        self._send_changes(plural, query, known)
        if "sendInitialEvents" in query:
            metadata = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
            version, kind = _type(plural)
            self._send_event("BOOKMARK", {"apiVersion": version, "kind": kind, "metadata": metadata})
        with suppress(BrokenPipeError, ConnectionResetError):
            while True:
                self._send_changes(plural, query, known)
                time.sleep(0.05)

    def _send_changes(self, plural: str, query: dict[str, str], known: dict[str, Object]) -> None:
        for name, item in self._select(plural, query):
            if item != known.get(name):
                self._send_event("MODIFIED" if name in known else "ADDED", item)
            known[name] = item

    def _send_event(self, kind: str, item: Object) -> None:
        self.wfile.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def do_POST(self) -> None:
        plural, _, _ = self._parse()
        body = self._body()
        if self.headers["Content-Type"].startswith("application/json"):
            name = json.loads(body)["metadata"]["name"]
        else:  # protobuf: the first non-empty string of the metadata, before an empty `generateName`
            name = re.findall(rb"(?s)\n.([a-z0-9.-]+)\x12\x00", body)[0].decode()
        if (plural, name) in self.server.objects:
            self._reject(409, "AlreadyExists", f'{plural} "{name}" already exists')
            return
        item = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"batch.kubernetes.io/job-name": name}}},
        }
        self.server.objects[plural, name] = item
        self._respond(item, 201)
        Thread(target=self.server.run, args=(item,), daemon=True).start()

    def do_PATCH(self) -> None:
        plural, name, part = self._parse()
        assert part == "scale"
        item = self.server.objects[plural, name]
        item["spec"]["replicas"] = json.loads(self._body())["spec"].get("replicas", 0)
        self._respond(_scale(item))


def _type(plural: str) -> tuple[str, str]:
    (found,) = [(version, kind) for version, kinds in RESOURCES.items() for kind in kinds if kinds[kind] == plural]
    return found


def _scale(item: Object) -> Object:
    metadata = {"name": item["metadata"]["name"], "namespace": NAMESPACE}
    replicas = item["spec"].get("replicas", 1)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas},
        "status": {"replicas": replicas},
    }


def _resources(version: str) -> Object:
    found: list[Object] = []
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    for kind, plural in RESOURCES[version].items():
        found.append({"name": plural, "namespaced": True, "kind": kind, "verbs": verbs})
        if version == "apps/v1":
            scale = {"group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]}
            found.append({"name": f"{plural}/scale", "namespaced": True, **scale})
    return {"kind": "APIResourceList", "groupVersion": version, "resources": found}


def _groups() -> list[Object]:
    versions = [{"groupVersion": version, "version": "v1"} for version in RESOURCES if "/" in version]
    return [
        {"name": version["groupVersion"].partition("/")[0], "versions": [version], "preferredVersion": version}
        for version in versions
    ]


_CREATE_JOB = {
    "x-kubernetes-group-version-kind": {"group": "batch", "version": "v1", "kind": "Job"},
    "parameters": [{"name": "fieldValidation", "in": "query"}],
}
DISCOVERY: dict[str, Object] = {
    f"/api/v1/namespaces/{NAMESPACE}": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups()},
    **{f"/{'apis' if '/' in version else 'api'}/{version}": _resources(version) for version in RESOURCES},
    "/openapi/v3": {"paths": {"apis/batch/v1": {"serverRelativeURL": "/openapi/v3/apis/batch/v1"}}},
    "/openapi/v3/apis/batch/v1": {"openapi": "3.0.0", "paths": {"/jobs": {"patch": _CREATE_JOB}}},
}
"""What the API server returns to a client that looks up its resources."""


@contextmanager
def run_api_server(objects: Iterable[Object], log: str) -> Iterator[ApiServer]:
    """Serve the objects on loopback."""
    with ApiServer(objects, log) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
