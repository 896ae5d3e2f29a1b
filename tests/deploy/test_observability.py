"""What Prometheus scrapes and alerts on, and what Grafana's dashboards show.

Whether there are such series is asked of live services, in tests/integration/test_scrapes.py.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import network
from deploy.dashboards import write
from tests.support.processes import ROOT
from tests.support.promql import DASHBOARDS, RULES, alerts, expressions, needs_promtool, panels, promtool

COMPOSE = ROOT / "deploy/compose"
RUNBOOKS = ROOT / "docs/runbooks"
UNIT_TESTS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))
RUNBOOK_URL = "{{ $externalLabels.docs }}docs/runbooks/%s.md"


def test_dashboards_are_current(tmp_path: Path) -> None:
    write(tmp_path)
    written = {file.name: file.read_text() for file in tmp_path.glob("*.json")}
    assert written == {file.name: file.read_text() for file in DASHBOARDS}, "run `make dashboards`"


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_whole(file: Path) -> None:
    found = panels(file)
    assert len({panel["id"] for panel in found}) == len(found)
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in found)
    taken = [
        (column, row)
        for panel in found
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken)), "panels overlap"
    assert max(column for column, _ in taken) < 24


def test_pages_that_panels_name_exist() -> None:
    named = {
        page
        for file in DASHBOARDS
        for panel in panels(file)
        for page in re.findall(r"\w+\.md", panel["description"])
    }
    assert named
    assert named <= {page.name for page in RUNBOOKS.glob("*.md")}


def test_prometheus_scrapes_where_services_listen() -> None:
    config = (COMPOSE / "prometheus/prometheus.yml").read_text()
    assert f"api:{network.API_PORT}" in config
    assert f"flower:{network.FLOWER_PORT}" in config
    assert f"exporter:{network.EXPORTER_PORT}" in config
    for worker in ("worker-issues", "worker-default"):
        assert f"names: [{worker}], type: A, port: {network.WORKER_METRICS_PORT}" in config
    assert network.METRICS_PATH == "/metrics", "which is Prometheus's own default"


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == RUNBOOK_URL % name
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    for heading in ("Meaning", "Diagnosis", "Mitigation"):
        assert f"\n## {heading}\n" in page, f"{name}.md has no section {heading}"


def test_every_runbook_has_its_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in alerts()}


def test_every_alert_is_in_the_list() -> None:
    page = (ROOT / "docs/reference/alerts.md").read_text()
    listed = dict(re.findall(r"^- \[(\w+)\]\(\.\./runbooks/\1\.md\) \((\w+)\): ", page, re.MULTILINE))
    severities = {alert["alert"]: alert["labels"]["severity"] for alert in alerts()}
    assert listed == severities


def test_every_alert_is_tested_to_fire_and_not_to() -> None:
    tests = [test for file in UNIT_TESTS for test in yaml.safe_load(file.read_text())["tests"]]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    names = {alert["alert"] for alert in alerts()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


@needs_promtool
def test_alerts_fire_when_they_should() -> None:
    out = promtool("test", "rules", *map(str, UNIT_TESTS))
    assert out.count("SUCCESS") == len(UNIT_TESTS)


@needs_promtool
def test_prometheus_understands_its_configuration_and_its_rules() -> None:
    config = COMPOSE / "prometheus/prometheus.yml"
    assert yaml.safe_load(config.read_text())["rule_files"] == ["/etc/issuetracker/rules/*.yml"]
    promtool("check", "config", "--syntax-only", str(config))
    promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))


@needs_promtool
def test_prometheus_understands_what_the_dashboards_ask() -> None:
    asked = [{"record": f"expression:{number}", "expr": one} for number, (_, one) in enumerate(expressions())]
    file = json.dumps({"groups": [{"name": "expressions", "rules": asked}]})
    assert f"{len(asked)} rules found" in promtool("check", "rules", stdin=file)
