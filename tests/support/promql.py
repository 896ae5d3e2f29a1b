"""PromQL expressions of dashboards and alerts, and the series that they select."""

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
    """A metric, its matchers (label, operator, value) and the labels that group it."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    grouped_by: frozenset[str]
    location: str

    def __str__(self) -> str:
        matchers = ",".join(f'{label}{operator}"{value}"' for label, operator, value in self.matchers)
        return f"{self.name}{{{matchers}}} by {sorted(self.grouped_by)}"


def rules() -> list[dict[str, Any]]:
    """Return all recording and alerting rules."""
    files = [yaml.safe_load(file.read_text()) for file in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def panels(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Yield the location and the text of each expression, with values for the variables of Grafana."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for file in DASHBOARDS:
        for panel in panels(file):
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "6h")
                yield f"{file.stem}: {panel['title']}", expression


def selectors() -> list[Selector]:
    """Return the selectors of all expressions."""
    return [found for location, expression in expressions() for found in _selectors(expression, location)]


def _selectors(expression: str, location: str) -> Iterator[Selector]:
    found: list[Selector] = []
    groupings: list[list[str]] = []

    def enter(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.AggregateExpr):
            by = node.modifier is not None and node.modifier.type == promql_parser.AggModifierType.By
            groupings.append(node.modifier.labels if by and node.modifier else [])
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            matchers = tuple(
                (matcher.name, OPERATORS[str(matcher.op)], matcher.value) for matcher in node.matchers.matchers
            )
            found.append(Selector(str(node.name), matchers, frozenset(chain(*groupings)), location))
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
    """Run promtool from this machine or from the image of Prometheus. Fail with its output."""
    command = _promtool()
    assert command is not None
    done = subprocess.run([*command, *arguments], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
