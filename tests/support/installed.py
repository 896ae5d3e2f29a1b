"""An installation of the rendered manifests, with its pods as containers."""

from dataclasses import dataclass, field

import httpx

from contracts import network
from tests.support.docker import docker, log
from tests.support.pods import Node, exit_code
from tests.support.waiting import wait_until


@dataclass
class Installation:
    """The running containers by the name of their workload."""

    node: Node
    running: dict[str, str] = field(default_factory=dict)

    def start(self, name: str, suffix: str = "") -> str:
        self.running[name] = self.node.main(name, suffix=suffix)
        return self.running[name]

    def restart(self, name: str, suffix: str) -> None:
        """Replace a pod as a rollout does, so that it reads its Secrets again."""
        assert self.node.stop(self.running[name], name) == 0
        self.node.remove(self.running[name])
        self.start(name, suffix)
        self.node.wait_probe(self.running[name], name, "readiness")

    def ready(self, name: str) -> None:
        self.node.wait_probe(self.running[name], name, "startup")
        self.node.wait_probe(self.running[name], name, "readiness")

    @property
    def api(self) -> httpx.Client:
        port = self.node.port(self.running["api"], network.API_PORT)
        token = self.node.secrets()["access"]["ADMIN_TOKEN"]
        return httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def job(self, name: str, suffix: str, **environment: str) -> tuple[int, str]:
        """Run a Job to completion and return its exit code and log."""
        container = self.node.main(name, suffix=suffix, **environment)
        return exit_code(container), log(container)

    def sql(self, query: str) -> str:
        psql = ("psql", "--username=postgres", "--no-psqlrc", "-At", "IssueTracker", "-c", query)
        return docker("exec", self.running["postgres"], *psql)

    def enrich(self, title: str) -> None:
        """Post an issue and wait until it is enriched and indexed, which needs the workers of both queues."""
        response = self.api.post("/api/v1/issues", json={"title": title, "description": "It does nothing."})
        assert response.status_code == 201, response.text
        issue = response.json()["id"]

        def done() -> bool:
            states = self.sql(f"SELECT DISTINCT queue || ' ' || state FROM job WHERE issue_id = '{issue}'")
            return sorted(states.splitlines()) == ["default succeeded", "issues succeeded"]

        wait_until(done, f"{title} to be enriched")
