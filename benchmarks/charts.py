"""Draw the charts of docs/benchmarks.md from a run's JSON, in the peers' environment, which has matplotlib.

.venv/bench/bin/python -m benchmarks.charts .local/benchmark.json docs/images
"""

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

OURS, SAFE, LOSES_JOBS = "#2563eb", "#94a3b8", "#f59e0b"
CHARTS = {
    "POST, 32 connections, 1/s": ("benchmark-post", "POST requests per second, one process, 32 connections"),
    "jobs per second of worker CPU, 1/s": ("benchmark-jobs", "Jobs per second of worker CPU, 0 ms of work"),
}


def draw(title: str, values: dict[str, list[float]], lost: dict[str, int], path: Path) -> None:
    """Draw one bar for each system, the fastest on top; a whisker spans its rounds."""
    names = sorted(values, key=lambda name: statistics.median(values[name]))
    medians = [statistics.median(values[name]) for name in names]
    below = [median - min(values[name]) for name, median in zip(names, medians, strict=True)]
    above = [max(values[name]) - median for name, median in zip(names, medians, strict=True)]
    colours = [OURS if name == "ours" else LOSES_JOBS if lost.get(name) else SAFE for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(names) + 1.1), layout="constrained")
    axes.barh(names, medians, color=colours, xerr=[below, above], ecolor="#475569")
    for row, (name, median) in enumerate(zip(names, medians, strict=True)):
        text = f"{median:,.0f}" + (f"  (kill -9 loses {lost[name]} jobs)" if lost.get(name) else "")
        axes.annotate(text, (max(values[name]), row), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, max(map(max, values.values())) * 1.3)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    # Without a date, the same run gives the same file.
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def main() -> None:
    """Draw the charts."""
    run, directory = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    mpl.rcParams |= {"svg.hashsalt": "issuetracker", "font.size": 10, "svg.fonttype": "none"}
    lost = {name: kill["not done"] for name, kill in run["kills"].items()}
    for measure, (name, title) in CHARTS.items():
        draw(title, run["values"][measure], lost, directory / f"{name}.svg")


if __name__ == "__main__":
    main()
