"""Jobs that are lost or done twice if a worker is killed with SIGKILL three times and another one starts."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benchmarks.results import Results
from benchmarks.systems import System

JOBS = 300
KILLS = 3
WORK_S = "0.1"
"""Of sleep in each job, so that jobs are under way when a worker is killed."""
START_S = 60
POLL_S = 0.005


def measure(systems: Sequence[System], results: Results, stall_timeout_s: float) -> None:
    """Kill the workers of all systems, side by side: only the recovery is timed."""
    with ExitStack() as stack:
        runs = [_run(system, results, stall_timeout_s, stack) for system in systems]
        while runs:
            runs = [run for run in runs if next(run, "over") is None]
            time.sleep(POLL_S)


def _run(system: System, results: Results, stall_timeout_s: float, stack: ExitStack) -> Iterator[None]:
    system.add_backlog(JOBS)
    for kill in range(1, KILLS + 1):
        worker = system.start_worker(WORK_S=WORK_S)
        stack.callback(worker.process.kill_group)
        yield from _wait(system, JOBS * kill // (KILLS + 1), START_S)
        worker.process.kill_group()
    last, began = system.start_worker(WORK_S=WORK_S), time.monotonic()
    stack.callback(last.process.kill_group)
    yield from _wait(system, JOBS, stall_timeout_s)
    results.kills[system.name] = {
        "jobs": JOBS,
        "not done": JOBS - system.done(),
        "twice": "not counted" if system.twice is None else system.database.one(system.twice),
        "seconds": round(time.monotonic() - began, 1),
    }
    last.process.kill_group()


def _wait(system: System, count: int, stall_timeout_s: float) -> Iterator[None]:
    """Wait until `count` jobs are done, or there is no progress for `stall_timeout_s`."""
    moved, before = time.monotonic(), -1
    while (done := system.done()) < count and time.monotonic() < moved + stall_timeout_s:
        if done != before:
            moved, before = time.monotonic(), done
        yield
