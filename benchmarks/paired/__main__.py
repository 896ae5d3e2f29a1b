"""The paired benchmark: everything in one run, in turns, on servers of its own.

    make bench            less than 15 minutes on two cores
    make bench QUICK=1    less than 3

Prints the table, writes JSON, and draws the charts. docs/benchmarks.md says how to read it.
"""

import argparse
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks.paired import backlog, growth, jobs, kills, peers, post, whole
from benchmarks.paired.report import show, write
from benchmarks.paired.results import Results
from benchmarks.paired.servers import servers
from benchmarks.paired.systems import asynchronous, prepare
from tests.support.processes import ROOT

console = Console()


@dataclass(frozen=True)
class Size:
    """How much is done."""

    rounds: int
    seconds: int
    """Of load, a round."""
    posts: int
    """One after the other, a round, for the time from POST to enriched."""
    jobs: int
    """A round, for what a job costs."""
    peer_rounds: int
    backlog: int
    patience_s: float
    """Without any progress after a kill, until what is missing counts as not done."""
    issues: int
    """In the larger table."""
    whole: int
    """Issues that go the whole way, with the models."""


FULL = Size(4, 4, posts=60, jobs=800, peer_rounds=2, backlog=20_000, patience_s=60, issues=1_000_000, whole=200)
QUICK = Size(2, 2, posts=30, jobs=300, peer_rounds=1, backlog=2_000, patience_s=30, issues=50_000, whole=40)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say what is measured, and how long that took."""
    started = time.monotonic()
    console.print(f"{name} ...", end=" ", highlight=False)
    yield
    console.print(f"{time.monotonic() - started:.0f} s", highlight=False)


def run(size: Size) -> Results:
    """Measure everything."""
    results = Results()
    with servers() as own:
        ours, naive, bare = prepare(own)
        with step("POST"):
            post.full(own, [ours, naive, asynchronous(naive), bare], results, size.rounds, size.seconds)
        with step("POST at a steady rate"):
            post.steady(own, [ours, naive], results, size.rounds, size.seconds)
        with step("POST to enriched"):
            jobs.latency(own, [ours, naive], results, size.rounds, size.posts)
        with step("jobs"):
            jobs.cost(own, [ours, naive], results, size.rounds, size.jobs)
        with step("the peers' jobs"):
            ready = peers.prepare(own, results)
            peers.cost(own, ready, results, size.peer_rounds, size.jobs * 4)
        with step("kill -9"), ours.running_api():
            kills.measure(own, [ours, naive, *ready], results, size.patience_s)
        with step("backlog"):
            backlog.drain(own, ours, results, size.backlog)
            backlog.model(own, ours, results)
        with step("an issue in full"):
            whole.measure(own, ours, results, size.whole)
    with step("few and many issues"):
        growth.measure(results, min(size.rounds, 3), 10_000, size.issues)
    return results


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--backlog", type=int, help="jobs of the long backlog, instead of 20,000 or 2,000")
    parser.add_argument("--out", type=Path, default=ROOT / ".local/benchmark.json", help="where the JSON goes")
    parser.add_argument("--charts", type=Path, help="the directory for the charts; beside the JSON by default")
    given = parser.parse_args()
    started = time.monotonic()
    size = QUICK if given.quick else FULL
    results = run(replace(size, backlog=given.backlog) if given.backlog else size)
    show(results, console)
    write(results, given.out)
    charts = given.charts or given.out.parent
    subprocess.run(
        [peers.PYTHON, "-m", "benchmarks.paired.charts", given.out, charts], cwd=ROOT, check=True, stdin=None
    )
    console.print(
        f"Wrote {given.out} and charts into {charts} after {(time.monotonic() - started) / 60:.1f} minutes."
    )


if __name__ == "__main__":
    main()
