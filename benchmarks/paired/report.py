"""The results as tables in the terminal, and as JSON."""

import json
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.paired.goals import GOALS
from benchmarks.paired.results import Results


def show(results: Results, console: Console) -> None:
    """Print what was measured, what was lost, what was reached, and how steady the machine was."""
    console.print(_values(results))
    if results.kills:
        console.print(_kills(results))
    console.print(_goals(results))
    spread = results.noise.spread()
    console.print(
        f"Noise of this machine, the middle half of {len(results.noise.clock_ms)} equal calculations by their "
        f"median: {spread['clock']:.0%} by the clock, {spread['cpu']:.0%} by CPU time. "
        "Differences below that say nothing."
    )


def write(results: Results, path: Path) -> None:
    """Write everything as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results.as_json(), indent=1) + "\n")


def figures(values: list[float]) -> list[str]:
    """Return median, least and most."""
    return [_figure(value) for value in (statistics.median(values), min(values), max(values))]


def kill_cells(kill: dict[str, Any]) -> list[str]:
    """Return what became of the jobs of workers that were killed."""
    if "missing" in kill:
        return [f"could not be run: {kill['missing']}", "", "", "", ""]
    twice = "not counted" if kill["twice"] is None else str(kill["twice"])
    return [*(str(kill[key]) for key in ("jobs", "kills", "not done")), twice, str(kill["seconds"])]


def _values(results: Results) -> Table:
    table = Table("what", "system", "median", "min", "max", "rounds", title="Measured")
    for column in table.columns[2:]:
        column.justify = "right"
    for measure, systems in results.values.items():
        for position, (system, values) in enumerate(systems.items()):
            table.add_row("" if position else measure, system, *figures(values), str(len(values)))
    return table


def _kills(results: Results) -> Table:
    table = Table(
        "system", "jobs", "kills", "not done", "done twice", "seconds to the end", title="kill -9 of a worker"
    )
    for name, kill in results.kills.items():
        table.add_row(name, *kill_cells(kill))
    return table


def _goals(results: Results) -> Table:
    table = Table("work", "measured", "goal", "", title="Goals: ratios of the medians of this run")
    for goal in GOALS:
        value, reached = goal.figure(results), goal.reached(results)
        said = {True: "[green]reached", False: "[red]short", None: "not measured"}[reached]
        sign = "at least" if goal.at_least else "at most"
        table.add_row(goal.work, "" if value is None else f"{value:.2f}", f"{sign} {goal.bound:g}", said)
    return table


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
