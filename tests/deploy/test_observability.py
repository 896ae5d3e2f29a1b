"""Targets and alerts of Prometheus, and dashboards of Grafana.

tests/integration/test_scrapes.py checks on live services that the series exist.
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
PLAIN = ROOT / "deploy/k8s/components/monitoring-plain"
RUNBOOKS = ROOT / "docs/runbooks"
UNIT_TESTS = sorted((ROOT / "deploy/prometheus/tests").glob("*.yml"))
RUNBOOK_URL = "{{ $externalLabels.docs }}docs/runbooks/%s.md"


def test_dashboards_are_current(tmp_path: Path) -> None:
    write(tmp_path)
    written = {file.name: file.read_text() for file in tmp_path.glob("*.json")}
    assert written == {file.name: file.read_text() for file in DASHBOARDS}, (
        "The dashboards are outdated. Run `make dashboards`."
    )


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_dashboard_panels_are_complete_and_do_not_overlap(file: Path) -> None:
    found = panels(file)
    assert len({panel["id"] for panel in found}) == len(found)
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in found)
    taken = [
        (column, row)
        for panel in found
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken)), "panels must not overlap"
    assert max(column for column, _ in taken) < 24


def test_pages_in_panel_descriptions_exist() -> None:
    page_names = {
        page
        for file in DASHBOARDS
        for panel in panels(file)
        for page in re.findall(r"\w+\.md", panel["description"])
    }
    assert page_names
    assert page_names <= {page.name for page in RUNBOOKS.glob("*.md")}


def test_prometheus_targets_match_contracts() -> None:
    config = (COMPOSE / "prometheus/prometheus.yml").read_text()
    assert f"api:{network.API_PORT}" in config
    assert f"flower:{network.FLOWER_PORT}" in config
    assert f"exporter:{network.EXPORTER_PORT}" in config
    for worker in ("worker-issues", "worker-default"):
        assert f"names: [{worker}], type: A, port: {network.WORKER_METRICS_PORT}" in config
    assert network.METRICS_PATH == "/metrics", "prometheus.yml relies on the default path of Prometheus"


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_alert_has_severity_and_runbook(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == RUNBOOK_URL % name
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    for heading in ("Meaning", "Diagnosis", "Mitigation"):
        assert f"\n## {heading}\n" in page, f"{name}.md has no section {heading}"


def test_runbooks_match_alerts() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in alerts()}


def test_alert_list_matches_alerts() -> None:
    page = (ROOT / "docs/reference/alerts.md").read_text()
    listed = dict(re.findall(r"^- \[(\w+)\]\(\.\./runbooks/\1\.md\) \((\w+)\): ", page, re.MULTILINE))
    severities = {alert["alert"]: alert["labels"]["severity"] for alert in alerts()}
    assert listed == severities


def test_alerts_have_firing_and_silent_test_case() -> None:
    tests = [test for file in UNIT_TESTS for test in yaml.safe_load(file.read_text())["tests"]]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    names = {alert["alert"] for alert in alerts()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


@needs_promtool
def test_alert_rule_tests_pass() -> None:
    out = promtool("test", "rules", *map(str, UNIT_TESTS))
    assert out.count("SUCCESS") == len(UNIT_TESTS)


@needs_promtool
def test_prometheus_configuration_and_rules_are_valid() -> None:
    config = COMPOSE / "prometheus/prometheus.yml"
    assert yaml.safe_load(config.read_text())["rule_files"] == ["/etc/issuetracker/rules/*.yml"]
    promtool("check", "config", "--syntax-only", str(config))
    promtool("check", "config", "--syntax-only", str(PLAIN / "prometheus.yml"))
    promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))


@needs_promtool
def test_dashboard_expressions_are_valid() -> None:
    rules = [{"record": f"expression:{number}", "expr": one} for number, (_, one) in enumerate(expressions())]
    file = json.dumps({"groups": [{"name": "expressions", "rules": rules}]})
    # Debian 12's promtool (2.42) reads standard input only by this name.
    assert f"{len(rules)} rules found" in promtool("check", "rules", "/dev/stdin", stdin=file)
