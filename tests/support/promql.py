"""What dashboards and alerts ask Prometheus for: their expressions, and the series that these select."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from shutil import which
from typing import Any

import promql_parser
import pytest
import yaml

from tests.support.docker import missing
from tests.support.processes import ROOT

PROMETHEUS_IMAGE = os.environ.get("PROMETHEUS_IMAGE", "prom/prometheus:latest")
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
RULES = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))


OPERATORS = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}


@dataclass(frozen=True)
class Selector:
    """A metric, what its labels must be (label, operator, value), and by which it is grouped."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    grouped_by: frozenset[str]
    where: str

    def __str__(self) -> str:
        matchers = ",".join(f'{label}{operator}"{value}"' for label, operator, value in self.matchers)
        return f"{self.name}{{{matchers}}} by {sorted(self.grouped_by)}"


def rules() -> list[dict[str, Any]]:
    """Return every rule: those that record and those that alert."""
    files = [yaml.safe_load(file.read_text()) for file in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def panels(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression behind where it is, with Grafana's variables as Grafana would fill them in."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for file in DASHBOARDS:
        for panel in panels(file):
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "6h")
                yield f"{file.stem}: {panel['title']}", expression


def selectors() -> list[Selector]:
    """Return the series that all expressions ask for."""
    return [found for where, expression in expressions() for found in _selectors(expression, where)]


def _selectors(expression: str, where: str) -> Iterator[Selector]:
    found: list[Selector] = []
    groupings: list[list[str]] = []

    def enter(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.AggregateExpr):
            by = node.modifier is not None and node.modifier.type == promql_parser.AggModifierType.By
            groupings.append(node.modifier.labels if by and node.modifier else [])
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            matchers = tuple((each.name, OPERATORS[str(each.op)], each.value) for each in node.matchers.matchers)
            found.append(Selector(str(node.name), matchers, frozenset(chain(*groupings)), where))
        return True

    def leave(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.AggregateExpr):
            groupings.pop()
        return True

    promql_parser.walk(promql_parser.parse(expression), enter, leave)
    yield from found


@cache
def _promtool() -> tuple[str, ...] | None:
    if which("promtool"):
        return ("promtool",)
    if missing(PROMETHEUS_IMAGE):
        return None
    mount = ("--volume", f"{ROOT}:{ROOT}:ro")
    return (
        "docker",
        "run",
        "--rm",
        "--interactive",
        "--network=none",
        *mount,
        "--entrypoint=promtool",
        PROMETHEUS_IMAGE,
    )


needs_promtool = pytest.mark.skipif(
    _promtool() is None, reason=f"promtool is not installed, and {missing(PROMETHEUS_IMAGE)}"
)


def promtool(*arguments: str, stdin: str | None = None) -> str:
    """Run promtool, of this machine or of Prometheus's image; fail with what it says."""
    command = _promtool()
    assert command is not None
    done = subprocess.run([*command, *arguments], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
