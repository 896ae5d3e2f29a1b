"""What 10, 1,000 and 100,000 issues a minute need, computed from what one issue costs, as Markdown.

    python -m benchmarks.capacity .local/benchmark.json

The file is that of `make bench`. docs/reference/sizing.md holds what this prints.
"""

import argparse
import json
import math
import statistics
from pathlib import Path

RATES = (10, 1_000, 100_000)
"""Issues a minute."""
USED = 0.6
"""Of each core, so that there is room for an hour that is busier than most."""
API_CORES = 1.0
"""That one process can use."""
WORKER_PROCESSES = 2
"""Of one worker, as installed."""
POSTGRES_CORES = 32
"""Of the largest server that is easily had."""
POOL = 10
"""Connections of one API process; a worker's process holds at most two."""
COST, DISK = "an issue in full, CPU, ms", "an issue in full, disk, kB"


def cores(cost_ms: float, rate: float) -> float:
    """Return the cores that a cost an issue needs at so many issues a minute."""
    return cost_ms / 1000 * rate / 60 / USED


def limits(costs: dict[str, float]) -> dict[str, float]:
    """Return the issues a minute at which a part that cannot be multiplied has used up its cores."""
    bounds = {"Redis's one thread": (costs["Valkey"], 1), "one PostgreSQL": (costs["PostgreSQL"], POSTGRES_CORES)}
    return {name: most / cores(cost, 1) for name, (cost, most) in bounds.items()}


def table(costs: dict[str, float], disk_kb: float) -> str:
    """Return the table: one column a rate."""

    def row(name: str, *cells: str) -> str:
        return f"| {name} | {' | '.join(cells)} |"

    def number(value: float) -> str:
        return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"

    api = [max(2, math.ceil(cores(costs["API"], rate) / API_CORES)) for rate in RATES]
    processes = {
        name: [max(1, math.ceil(cores(costs[f"worker {name}"], rate))) for rate in RATES]
        for name in ("issues", "default")
    }
    workers = {
        name: [math.ceil(count / WORKER_PROCESSES) for count in counts] for name, counts in processes.items()
    }
    connections = [
        api[column] * POOL + sum(2 * WORKER_PROCESSES * counts[column] for counts in workers.values())
        for column in range(len(RATES))
    ]
    lines = [
        row("Issues a minute", *(f"{rate:,}" for rate in RATES)),
        "|---" * (len(RATES) + 1) + "|",
        row("All cores", *(number(sum(cores(cost, rate) for cost in costs.values())) for rate in RATES)),
        row("API processes", *map(str, api)),
        *(
            row(f"Workers of `{name}`, {WORKER_PROCESSES} processes each", *map(str, counts))
            for name, counts in workers.items()
        ),
        row("Cores of PostgreSQL", *(number(cores(costs["PostgreSQL"], rate)) for rate in RATES)),
        row("Cores of Redis, which uses one", *(number(cores(costs["Valkey"], rate)) for rate in RATES)),
        row("Disk of PostgreSQL, GB a day", *(number(disk_kb * rate * 1440 / 1e6) for rate in RATES)),
        row("Connections to PostgreSQL, at most", *map(str, connections)),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    values = json.loads(parser.parse_args().file.read_text())["values"]
    costs = {name: statistics.median(found) for name, found in values[COST].items()}
    print("| | CPU an issue, ms |\n|---|---|")
    print("\n".join(f"| {name} | {cost:.2f} |" for name, cost in costs.items()))
    print(f"\n{table(costs, values[DISK]['PostgreSQL'][0])}\n")
    for name, most in sorted(limits(costs).items(), key=lambda limit: limit[1]):
        print(f"- {name} is used up at {most:,.0f} issues a minute.")


if __name__ == "__main__":
    main()
