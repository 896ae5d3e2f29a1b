"""Jobs: time from POST to enriched, and worker CPU of a job."""

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack

import httpx

from benchmarks.load import BODY, PATH
from benchmarks.processes import Started
from benchmarks.results import Results
from benchmarks.systems import System

P50 = "POST to enriched, idle, p50, ms"
P99 = "POST to enriched, idle, p99, ms"
PER_CORE = "jobs per second of worker CPU, 1/s"
PER_PROCESS = "jobs, one worker process, 1/s"
TIMEOUT_S = 120
DRAIN_S = 12
"""How long a slow system is measured."""
FIRST_JOBS = 50
POLL_S = 0.001


def measure_latency(systems: Sequence[System], results: Results, rounds: int, issues: int) -> None:
    """Post one issue at a time, each after the previous one is enriched, in turns."""
    with ExitStack() as stack:
        ports = {system: stack.enter_context(system.running_api())[1] for system in systems}
        for system, port in ports.items():
            stack.enter_context(system.running_worker())
            _times(system, port, 10)
        for _ in range(rounds):
            for system, port in ports.items():
                times = _times(system, port, issues)
                results.add(P50, system.name, statistics.median(times) * 1000)
                results.add(P99, system.name, statistics.quantiles(times, n=100)[98] * 1000)
    for system in systems:
        system.clear()


def _times(system: System, port: int, issues: int) -> list[float]:
    """Return the seconds from each request until the database shows its result, checked every millisecond."""
    times = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(issues):
            time.sleep(0.01)  # the rest of the previous job
            started = time.perf_counter()
            response = client.post(PATH, content=BODY, headers={"Content-Type": "application/json"})
            issue_id = response.raise_for_status().json()["id"]
            while not system.database.one("SELECT ai_summary IS NOT NULL FROM issue WHERE id = %s", issue_id):
                time.sleep(POLL_S)
                assert time.perf_counter() < started + TIMEOUT_S, f"{system.name}: {issue_id} is not enriched"
            times.append(time.perf_counter() - started)
    return times


def measure_cost(systems: Sequence[System], results: Results, rounds: int, jobs: int) -> None:
    """Let one worker process drain a backlog that existed before it started, in turns."""
    for _ in range(rounds):
        for system in systems:
            system.clear()
            with ExitStack() as stack:
                if system.api and not system.feed:
                    stack.enter_context(system.running_api())  # its dispatcher publishes the jobs
                system.add_backlog(jobs)
                _drain(system, stack.enter_context(system.running_worker()), jobs, results)
            system.clear()


def _drain(system: System, worker: Started, jobs: int, results: Results) -> None:
    """Measure the drain, without the worker's start and its first jobs."""
    _wait_for(system, worker, min(jobs // 10, FIRST_JOBS), TIMEOUT_S)
    # Counting takes time too: at both ends it counts against the system.
    began, cpu = time.perf_counter(), worker.cpu_s()
    first = system.done()
    last = _wait_for(system, worker, jobs, DRAIN_S)
    elapsed, used = time.perf_counter() - began, worker.cpu_s() - cpu
    results.add(PER_CORE, system.name, (last - first) / used)
    results.add(PER_PROCESS, system.name, (last - first) / elapsed)


def _wait_for(system: System, worker: Started, count: int, seconds: float) -> int:
    """Wait until `count` jobs are done, `seconds` at most; return how many are."""
    deadline = time.monotonic() + seconds
    while (done := system.done()) < count and time.monotonic() < deadline:
        worker.check()
        time.sleep(POLL_S * 5)
    assert done > 0, f"{system.name} has done no job"
    return done
