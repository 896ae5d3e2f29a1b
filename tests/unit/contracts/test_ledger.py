"""The ledger package is the only owner of the states and columns of `job`."""

import re
from collections.abc import Iterator

import pytest
import yaml

from contracts.ledger.enqueue import ENQUEUE_MANY
from contracts.ledger.queries import NEEDS_WORKER
from contracts.ledger.statement import Statement
from contracts.states import JobState
from tests.support.processes import ROOT

SOURCES = ("services", "contracts/src", "cli/src", "devstack", "deploy")
"""Tests and benchmarks fill the tables themselves."""
OWNERS = (
    "contracts/src/contracts/ledger/",
    "contracts/src/contracts/states.py",
    "services/api/migrations/versions/",
)
"""The package, the enumeration, and the migrations, which never change once they are released."""
_STATE = "|".join(JobState)
KEDA = "deploy/k8s/components/keda/template/scaledobject.yaml"
FOREIGN = {
    "names a state": re.compile(rf"JobState\.[A-Z]|\bstate\b[^\n]*'({_STATE})'"),
    "writes job": re.compile(
        r"(INSERT INTO|UPDATE|DELETE FROM) job\b|(insert|update|delete)\(Job\)", re.IGNORECASE
    ),
}


def find_foreign() -> Iterator[str]:
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name.startswith(OWNERS):
                continue
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                # The words of other tables' states overlap.
                if "dead_message" in line or "operation" in line:
                    continue
                for what, pattern in FOREIGN.items():
                    if pattern.search(line):
                        yield f"{name}:{number} {what}: {line.strip()}"


def test_modules_outside_ledger_neither_name_state_nor_write_job() -> None:
    assert list(find_foreign()) == []


def test_statement_with_wrong_parameters_is_rejected_by_name() -> None:
    with pytest.raises(TypeError, match="not \\['id'\\]"):
        ENQUEUE_MANY.bind(id=1)


def test_statement_numbers_repeated_parameter_once() -> None:
    statement = Statement("SELECT CAST(:a AS int), CAST(:b AS text), CAST(:a AS int)")

    assert statement.bind(b="x", a=1) == ("SELECT CAST($1 AS int), CAST($2 AS text), CAST($1 AS int)", 1, "x")


def test_keda_counts_jobs_that_need_worker() -> None:
    (trigger,) = yaml.safe_load((ROOT / KEDA).read_text())["spec"]["triggers"]

    assert trigger["metadata"]["query"] == f"SELECT count(*) FROM job WHERE queue = 'QUEUE' AND {NEEDS_WORKER}"
