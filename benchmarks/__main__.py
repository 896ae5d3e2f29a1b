"""Measure the product beside the naive system, a bare endpoint and peers, in turns, on servers of its own.

    make bench            15 minutes on two cores
    make bench QUICK=1    3 minutes
    make bench-guard      2 minutes; exit code 1 if a POST or a job costs too much CPU against the naive system

Prints the results and the goals, writes them as JSON, and draws charts. docs/benchmarks.md explains them.
"""

import argparse
import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import fairness, jobs, kills, post, scale
from benchmarks.goals import GOALS, GUARDS, is_missed
from benchmarks.results import Results
from benchmarks.systems import PEERS, PEERS_PYTHON, create_bare, create_naive, create_ours, create_peer
from tests.support.processes import ROOT


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    seconds: int
    """Of load, per round."""
    posts: int
    """One after the other, per round."""
    jobs: int
    """Per round."""
    backlog: int
    stall_timeout_s: float
    """Without progress after a kill until the missing jobs count as lost."""
    issues: int
    """In the larger database."""
    urgent_backlog: int
    """Jobs of another project that wait before the urgent ones."""


FULL = Size(4, 4, posts=60, jobs=800, backlog=20_000, stall_timeout_s=60, issues=1_000_000, urgent_backlog=100_000)
QUICK = Size(2, 2, posts=30, jobs=300, backlog=2_000, stall_timeout_s=30, issues=50_000, urgent_backlog=10_000)


def measure(size: Size) -> Results:
    """Measure everything."""
    results = Results()
    with ExitStack() as stack:
        ours, bare, (naive, naive_async) = create_ours(stack), create_bare(stack), create_naive(stack)
        peers = [create_peer(stack, name) for name in PEERS]
        print("POST", flush=True)
        post.measure_full([ours, naive, naive_async, bare], results, size.rounds, size.seconds)
        post.measure_steady([ours, naive], results, size.rounds, size.seconds)
        print("jobs", flush=True)
        jobs.measure_latency([ours, naive], results, size.rounds, size.posts)
        jobs.measure_cost([ours, naive], results, size.rounds, size.jobs)
        jobs.measure_cost(peers, results, max(1, size.rounds // 2), size.jobs * 4)
        print("kill -9", flush=True)
        with ours.running_api():
            kills.measure([ours, naive, *peers], results, size.stall_timeout_s)
        ours.clear()
        print("fairness", flush=True)
        fairness.measure_urgent(ours, results, size.urgent_backlog, posts=100)
        fairness.measure_share(ours, results, size.jobs)
        print("scale", flush=True)
        scale.measure_backlog(ours, results, size.backlog)
    scale.measure_issues(results, min(size.rounds, 3), 10_000, size.issues)
    return results


def guard() -> int:
    """Measure the CPU of a POST and of a job; return 1 if one costs too much."""
    results = Results()
    with ExitStack() as stack:
        systems = [create_ours(stack), create_naive(stack)[0]]
        post.measure_full(systems, results, rounds=3, seconds=3)
        jobs.measure_cost(systems, results, rounds=3, jobs=400)
    print(*results.lines(), *(goal.line(results) for goal in GUARDS), sep="\n")
    return int(any(is_missed(goal, results) for goal in GUARDS))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guard", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--backlog", type=int, help="jobs of the backlog, instead of 20,000 or 2,000")
    parser.add_argument("--out", type=Path, default=ROOT / ".local/benchmark.json", help="the JSON file")
    parser.add_argument("--charts", type=Path, default=ROOT / ".local", help="the directory of the charts")
    arguments = parser.parse_args()
    # SIGTERM ends the run through `finally`, which stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.guard:
        sys.exit(guard())
    size = QUICK if arguments.quick else FULL
    results = measure(replace(size, backlog=arguments.backlog or size.backlog))
    goals = [goal.line(results) for goal in GOALS]
    print(*results.lines(), *goals, sep="\n")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({**results.as_json(), "goals": goals}, indent=1) + "\n")
    subprocess.run(
        [PEERS_PYTHON, "-m", "benchmarks.charts", arguments.out, arguments.charts], cwd=ROOT, check=True
    )


if __name__ == "__main__":
    main()
