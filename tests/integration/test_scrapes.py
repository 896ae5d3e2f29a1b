"""What dashboards and alerts ask Prometheus for is there, in a live scrape of every service."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec

import httpx
import pytest

from contracts import network
from devstack.network import free_port, wait_until
from devstack.process import Process
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.processes import API
from tests.support.promql import rules, selectors
from tests.support.scrapes import missing_series, series
from tests.support.servers import Log, Servers

pytestmark = pytest.mark.skipif(find_spec("api.exporter") is None, reason="api.exporter is not there yet")

OF_PROMETHEUS = {"ALERTS", "up"}
OF_THE_KUBELET = {"kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"}
OF_FLOWER = {"flower_worker_online"}
"""Whose metrics its own tests look at: tests/e2e/test_compose.py has it in Prometheus."""


@pytest.fixture
def exporter_port(servers: Servers) -> Iterator[int]:
    port = free_port()
    environment = {**servers.env, "METRICS_PORT": str(port)}
    process = Process("exporter", [sys.executable, "-m", "api.exporter"], Log(), cwd=API, env=environment)
    yield port
    process.stop(30)


def scrape(url: str) -> str:
    return httpx.get(f"{url}{network.METRICS_PATH}", timeout=30).raise_for_status().text


def test_what_is_asked_for_is_there(new_api: ApiFactory, new_worker: WorkerFactory, exporter_port: int) -> None:
    port = free_port()
    api = new_api({})
    new_worker({"METRICS_PORT": str(port)})
    # No request has come, no job has run: what is counted begins at 0.
    urls = {
        "api": str(api.client.base_url).rstrip("/"),
        "worker-issues": f"http://127.0.0.1:{port}",
        "exporter": f"http://127.0.0.1:{exporter_port}",
    }
    wait_until(lambda: all(map(_answers, urls.values())), 60, "every service to be scraped")

    recorded = {rule["record"] for rule in rules() if "record" in rule}
    elsewhere = OF_PROMETHEUS | OF_THE_KUBELET | OF_FLOWER | recorded
    asked = [one for one in selectors() if one.name not in elsewhere]
    assert len(asked) > 50
    assert missing_series(asked, series({job: scrape(url) for job, url in urls.items()})) == []


def _answers(url: str) -> bool:
    try:
        return bool(scrape(url))
    except httpx.HTTPError:
        return False
