"""Writes deploy/prometheus/rules as a PrometheusRule for the Prometheus Operator: `make rules`.

A kustomization reads no file outside its own directory, so Kubernetes has a copy, which a test compares.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy/prometheus/rules"
OBJECT = ROOT / "deploy/k8s/components/monitoring/rules.yaml"
HEAD = "# Written by `make rules` from deploy/prometheus/rules, where the comments are.\n"


def prometheus_rule() -> str:
    """Return the object as YAML."""
    files = [yaml.safe_load(file.read_text()) for file in sorted(RULES.glob("*.yml"))]
    found: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "issuetracker"},
        "spec": {"groups": [group for file in files for group in file["groups"]]},
    }
    return HEAD + yaml.safe_dump(found, sort_keys=False, width=120)


def main() -> int:
    """Write the file."""
    OBJECT.write_text(prometheus_rule())
    return 0


if __name__ == "__main__":
    sys.exit(main())
