"""Every metric that dashboards and alerts use exists in a live scrape of the services."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec

import httpx
import pytest

from contracts import network
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.forked import ForkedProcess
from tests.support.ports import free_port
from tests.support.processes import API
from tests.support.promql import rules, selectors
from tests.support.scrapes import missing_series, series
from tests.support.servers import Log, Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(find_spec("api.exporter") is None, reason="api.exporter is missing")

PROMETHEUS_METRICS = {"ALERTS", "up"}
KUBELET_METRICS = {"kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"}
FLOWER_METRICS = {"flower_worker_online"}
"""Metrics that tests/containers/test_compose.py checks in Prometheus."""


@pytest.fixture
def exporter_port(servers: Servers) -> Iterator[int]:
    port = free_port()
    environment = {**servers.env, "METRICS_PORT": str(port)}
    process = ForkedProcess("exporter", [sys.executable, "-m", "api.exporter"], Log(), cwd=API, env=environment)
    yield port
    process.stop(30)


def scrape(url: str) -> str:
    return httpx.get(f"{url}{network.METRICS_PATH}", timeout=30).raise_for_status().text


def test_metrics_of_dashboards_and_alerts_exist_in_scrape(
    new_api: ApiFactory, new_worker: WorkerFactory, exporter_port: int
) -> None:
    port = free_port()
    api = new_api({})
    new_worker({"METRICS_PORT": str(port)})
    # Before the first request and the first job, every counter must exist with the value 0.
    urls = {
        "api": str(api.client.base_url).rstrip("/"),
        "worker-issues": f"http://127.0.0.1:{port}",
        "exporter": f"http://127.0.0.1:{exporter_port}",
    }
    wait_until(lambda: all(map(_is_scrapable, urls.values())), "every service to be scraped")

    recorded = {rule["record"] for rule in rules() if "record" in rule}
    other_metrics = PROMETHEUS_METRICS | KUBELET_METRICS | FLOWER_METRICS | recorded
    used_selectors = [selector for selector in selectors() if selector.name not in other_metrics]
    assert len(used_selectors) > 50

    def find_missing() -> list[str]:
        return missing_series(used_selectors, series({job: scrape(url) for job, url in urls.items()}))

    # The exporter omits the metrics of a query that times out on a busy machine.
    wait_until(lambda: find_missing() == [], lambda: f"all series, without {find_missing()}")


def _is_scrapable(url: str) -> bool:
    try:
        return bool(scrape(url))
    except httpx.HTTPError:
        return False
