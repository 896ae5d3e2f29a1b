"""What is lost when a worker is killed with SIGKILL in the middle of its jobs, and another one starts."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Protocol

from benchmarks.paired.processes import Started
from benchmarks.paired.results import Results
from benchmarks.paired.servers import Servers

JOBS = 300
WORK_S = "0.1"
"""Of sleep in each job, so that a kill finds some under way."""
KILLS = 3
START_S = 60
POLL_S = 0.005


class Queue(Protocol):
    """What can be given jobs, and a worker."""

    @property
    def name(self) -> str:
        """What it is called."""

    def hand_over(self, count: int) -> None:
        """Make a backlog."""

    def start_worker(self, **env: str) -> Started:
        """Start a worker."""

    def done(self) -> int:
        """Return how many jobs have had their effect."""

    def doubled(self) -> int | None:
        """Return how many jobs have had it twice; None where nothing counts that."""


def measure(servers: Servers, queues: Sequence[Queue], results: Results, patience_s: float) -> None:
    """Kill all of their workers, side by side: nothing here is timed but the wait for what was under way."""
    servers.flush()
    with ExitStack() as stack:
        runs = [_run(queue, results, patience_s, stack) for queue in queues]
        while runs:
            runs = [run for run in runs if next(run, "over") is None]
            time.sleep(POLL_S)
    servers.flush()


def _run(queue: Queue, results: Results, patience_s: float, stack: ExitStack) -> Iterator[None]:
    queue.hand_over(JOBS)
    for kill in range(1, KILLS + 1):
        worker = queue.start_worker(WORK_S=WORK_S)
        stack.callback(worker.process.kill_group)
        yield from _wait(queue, JOBS * kill // (KILLS + 1), START_S)
        worker.process.kill_group()
    last, began = queue.start_worker(WORK_S=WORK_S), time.monotonic()
    stack.callback(last.process.kill_group)
    yield from _wait(queue, JOBS, patience_s)
    results.kills[queue.name] = {
        "jobs": JOBS,
        "kills": KILLS,
        "not done": JOBS - queue.done(),
        "twice": queue.doubled(),
        "seconds": round(time.monotonic() - began, 1),
    }
    last.process.kill_group()


def _wait(queue: Queue, count: int, patience_s: float) -> Iterator[None]:
    """Wait until so many are done, or nothing has moved for so long."""
    moved, before = time.monotonic(), -1
    while (done := queue.done()) < count and time.monotonic() < moved + patience_s:
        if done != before:
            moved, before = time.monotonic(), done
        yield
