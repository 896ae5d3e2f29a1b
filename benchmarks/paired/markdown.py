"""A run as the tables of docs/benchmarks.md: `python -m benchmarks.paired.markdown .local/benchmark.json`."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.paired import backlog
from benchmarks.paired.goals import GOALS
from benchmarks.paired.report import figures, kill_cells
from benchmarks.paired.results import Results


def _table(*rows: Sequence[str]) -> Iterator[str]:
    head, *others = rows
    yield ""
    for row in (head, ["---"] * len(head), *others):
        yield f"| {' | '.join(row)} |"


def lines(results: Results) -> Iterator[str]:
    """Give the tables line by line."""
    said = {True: "reached", False: "**short**", None: "not measured"}
    rows = []
    for goal in GOALS:
        value = goal.figure(results)
        bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound:g}"
        rows.append([goal.work, "" if value is None else f"{value:.2f}", bound, said[goal.reached(results)]])
    yield from _table(["Work", "Measured", "Goal", ""], *rows)
    measured = [
        [measure if position == 0 else "", system, *figures(values), str(len(values))]
        for measure, systems in results.values.items()
        if measure != backlog.RATE  # a chart of its own
        for position, (system, values) in enumerate(systems.items())
    ]
    yield from _table(["What", "System", "Median", "Least", "Most", "Rounds"], *measured)
    if results.kills:
        rows = [[name, *kill_cells(kill)] for name, kill in results.kills.items()]
        yield from _table(["`kill -9`", "Jobs", "Kills", "Not done", "Done twice", "Seconds to the end"], *rows)


def main() -> None:
    """Run the command line."""
    run = json.loads(Path(sys.argv[1]).read_text())
    noise = run["noise"]
    print(f"Measured at {run['at']} on {run['machine']}, Python {run['python']}, load by {run['client']}, commit")
    print(f"{run['commit']}. Noise: {noise['clock']:.0%} by the clock, {noise['cpu']:.0%} by CPU time.")
    print("\n".join(lines(Results(run["values"], run["kills"]))))


if __name__ == "__main__":
    main()
