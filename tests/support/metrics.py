"""Metrics of services as numbers."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prometheus_client.parser import text_string_to_metric_families

from contracts.network import METRICS_PATH
from tests.support.forked import ForkedProcess
from tests.support.ports import free_port
from tests.support.processes import API
from tests.support.redis_users import connect_as
from tests.support.servers import Log, Servers
from tests.support.waiting import wait_until


class Scrape:
    """One scrape, or the sum of several. Metric names omit the common prefix `issuetracker_`."""

    def __init__(self, *texts: str) -> None:
        families = [family for text in texts for family in text_string_to_metric_families(text)]
        self.types = {family.name: family.type for family in families}
        self._samples = [sample for family in families for sample in family.samples]

    def has(self, name: str) -> bool:
        return any(sample.name == f"issuetracker_{name}" for sample in self._samples)

    def one(self, name: str, **labels: str) -> float:
        """Return the sum of all samples with these labels."""
        return sum(number for _, number in self._found(name, labels))

    def by(self, name: str, *label_names: str, **labels: str) -> Counter[tuple[str, ...]]:
        """Return the sums grouped by these labels, without sums of 0."""
        sums: Counter[tuple[str, ...]] = Counter()
        for found, number in self._found(name, labels):
            sums[tuple(found[label] for label in label_names)] += int(number)
        return +sums

    def series(self, name: str, *label_names: str) -> set[tuple[str, ...]]:
        """Return the existing values of these labels, including series at 0."""
        return {tuple(found[label] for label in label_names) for found, _ in self._found(name, {})}

    def labels(self) -> dict[str, set[str]]:
        """Return the label names of each sample, without `le` of histograms."""
        return {sample.name: set(sample.labels) - {"le"} for sample in self._samples}

    def _found(self, name: str, labels: dict[str, str]) -> Iterator[tuple[dict[str, str], float]]:
        for sample in self._samples:
            if sample.name == f"issuetracker_{name}" and labels.items() <= sample.labels.items():
                yield sample.labels, sample.value


def scrape(*ports: int) -> Scrape:
    """Scrape services of this machine and add up their metrics."""
    return Scrape(*(text(port) for port in ports))


def scrape_exporter(port: int) -> Scrape:
    """Scrape the exporter, again if it omits gauges, because a query may time out on a busy machine."""
    seen: list[Scrape] = []

    def is_complete() -> bool:
        seen[:] = [scrape(port)]
        return {f"issuetracker_{name}" for name in _EXPORTED} <= seen[0].types.keys()

    wait_until(is_complete, "a scrape with all gauges of the exporter")
    return seen[0]


_EXPORTED = (
    *("jobs", "oldest_due_job_age_seconds", "dispatcher_lag_seconds", "circuit_open", "paused"),
    *("schedule_overdue_seconds", "waiting_jobs_class", "waiting_jobs_project", "queue_messages"),
)
"""A gauge of each query of the exporter."""


def text(port: int) -> str:
    """Return the metrics page of a service."""
    return httpx.get(f"http://127.0.0.1:{port}{METRICS_PATH}", timeout=30).raise_for_status().text


@contextmanager
def exporter(servers: Servers, **env: str) -> Iterator[int]:
    """Run the exporter and yield its port."""
    port, log = free_port(), Log()
    command = [sys.executable, "-m", "api.exporter"]
    env = connect_as("exporter", {**servers.env, **env, "METRICS_PORT": str(port)})
    process = ForkedProcess("exporter", command, log, cwd=API, env=env)

    def is_ready() -> bool:
        assert process.exit_code is None, f"the exporter ended:\n{log}"
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(is_ready, "the exporter to be ready")
        yield port
    finally:
        process.stop(30)
