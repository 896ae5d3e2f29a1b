"""What Prometheus scrapes and what Grafana's dashboards ask for."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from flower.events import PrometheusMetrics
from prometheus_client import REGISTRY

from api.metrics import http as metrics
from contracts import network
from tests.support.docker import docker, needs_images
from tests.support.processes import ROOT

COMPOSE = ROOT / "deploy/compose"
DASHBOARDS = sorted((COMPOSE / "grafana/dashboards").glob("*.json"))
PROMETHEUS = os.environ.get("PROMETHEUS_IMAGE", "prom/prometheus:latest")


def panels(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())["panels"]
    return found


def expressions() -> list[str]:
    return [target["expr"] for file in DASHBOARDS for panel in panels(file) for target in panel["targets"]]


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_whole(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    data_source = (COMPOSE / "grafana/provisioning/datasources/prometheus.yaml").read_text()

    assert dashboard["uid"] == file.stem
    assert len({panel["id"] for panel in panels(file)}) == len(panels(file))
    assert {f"uid: {panel['datasource']['uid']}" for panel in panels(file)} <= set(
        re.findall(r"uid: \w+", data_source)
    )
    taken = [
        (column, row)
        for panel in panels(file)
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken)), "panels overlap"
    assert max(column for column, _ in taken) < 24


def test_dashboards_ask_only_for_metrics_that_there_are() -> None:
    exposed = {family.name for family in REGISTRY.collect()}
    exposed |= {str(metric._name) for metric in vars(PrometheusMetrics()).values()}
    assert metrics.REQUESTS._name in exposed
    for expression in expressions():
        for name in re.findall(r"\b(?:issuetracker|flower|process)_\w+", expression):
            assert re.sub(r"_(total|bucket|sum|count)$", "", name) in exposed, name


def test_prometheus_scrapes_where_services_listen() -> None:
    config = (COMPOSE / "prometheus/prometheus.yml").read_text()
    assert f"api:{network.API_PORT}" in config
    assert f"flower:{network.FLOWER_PORT}" in config
    assert f"exporter:{network.EXPORTER_PORT}" in config
    for worker in ("worker-issues", "worker-default"):
        assert f"names: [{worker}], type: A, port: {network.WORKER_METRICS_PORT}" in config
    assert network.METRICS_PATH == "/metrics", "which is Prometheus's own default"


@needs_images(PROMETHEUS)
def test_prometheus_understands_its_configuration_and_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"expression:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions())
    ]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    tmp_path.chmod(0o755)

    mounts = ("-v", f"{COMPOSE}/prometheus:/etc/prometheus:ro", "-v", f"{tmp_path}:/rules:ro")
    promtool = ("run", "--rm", "--network=none", *mounts, "--entrypoint=promtool", PROMETHEUS, "check")
    docker(*promtool, "config", "/etc/prometheus/prometheus.yml")
    assert f"{len(rules)} rules found" in docker(*promtool, "rules", "/rules/rules.json")
