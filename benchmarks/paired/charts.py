"""Draws the charts of docs/benchmarks.md from a run's JSON, in the peers' environment, where matplotlib is.

.venv/bench/bin/python -m benchmarks.paired.charts .local/benchmark.json docs/images
"""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

OURS, OTHERS, LOSES = "#2563eb", "#94a3b8", "#f59e0b"
NAMES = {
    "ours": "IssueTracker",
    "naive": "FastAPI + ORM + delay()",
    "naive, async": "the same, async",
    "bare": "asyncpg, no job",
}


def bars(title: str, note: str, values: dict[str, list[float]], kills: dict[str, Any], path: Path) -> None:
    """Draw one bar a system, the fastest on top, from the least to the most of its rounds as a whisker."""
    names = sorted(values, key=lambda name: statistics.median(values[name]))
    medians = [statistics.median(values[name]) for name in names]
    lost = {name: kills.get(name, {}).get("not done", 0) for name in names}
    colours = [OURS if name == "ours" else LOSES if lost[name] else OTHERS for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(names) + 1.1), layout="constrained")
    whiskers = [
        [median - min(values[name]) for name, median in zip(names, medians, strict=True)],
        [max(values[name]) - median for name, median in zip(names, medians, strict=True)],
    ]
    axes.barh([NAMES.get(name, name) for name in names], medians, color=colours, xerr=whiskers, ecolor="#475569")
    for row, (name, median) in enumerate(zip(names, medians, strict=True)):
        text = f"{median:,.0f}" + (
            f"  (kill -9 loses {lost[name]} of {kills[name]['jobs']})" if lost[name] else ""
        )
        axes.annotate(text, (max(values[name]), row), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, max(map(max, values.values())) * 1.3)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(note, loc="left", color="#475569")
    _save(figure, axes, path)


def backlog(rates: dict[str, list[float]], path: Path) -> None:
    """Draw how fast a backlog drains from its beginning to its end."""
    figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
    share = [(int(part) + 0.5) / len(rates) * 100 for part in rates]
    axes.plot(share, [values[0] for values in rates.values()], color=OURS, linewidth=2)
    axes.set_ylim(bottom=0)
    axes.set_title("A backlog's jobs a second, from its first to its last", loc="left", fontweight="bold")
    axes.set_xlabel("% done", loc="left", color="#475569")
    _save(figure, axes, path)


def _save(figure: Any, axes: Any, path: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    # The same run draws the same file.
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def main() -> None:
    """Draw what the file has."""
    run, directory = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    mpl.rcParams |= {"svg.hashsalt": "issuetracker", "font.size": 10, "svg.fonttype": "none"}
    values, kills = run["values"], run["kills"]
    charts = {
        "POST, 32 connections, 1/s": ("benchmark-post", "POST a second, one process, 32 connections"),
        "jobs a second of worker CPU, 1/s": ("benchmark-jobs", "Jobs a second of worker CPU, with nothing to do"),
    }
    for measure, (name, title) in charts.items():
        if measure in values:
            note = (
                f"median, least and most of {len(values[measure]['ours'])} rounds, {run['machine'].split(',')[0]}"
            )
            bars(title, note, values[measure], kills, directory / f"{name}.svg")
    if "backlog, by its twentieths, 1/s" in values:
        backlog(values["backlog, by its twentieths, 1/s"], directory / "benchmark-backlog.svg")


if __name__ == "__main__":
    main()
