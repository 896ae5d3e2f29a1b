"""Jobs: from POST to enriched while nothing else happens, and what a job costs a worker."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import httpx
import psycopg2

from benchmarks.paired.load import BODY, PATH
from benchmarks.paired.processes import Started
from benchmarks.paired.results import Results
from benchmarks.paired.servers import Servers
from benchmarks.paired.systems import System

P50 = "POST to enriched, idle, p50, ms"
P99 = "POST to enriched, idle, p99, ms"
PER_CORE = "jobs a second of worker CPU, 1/s"
PER_PROCESS = "jobs, one worker process, 1/s"
TIMEOUT_S = 120
DRAIN_S = 12
"""How long the slowest are watched."""
FIRST_JOBS = 50
POLL_S = 0.001


def latency(servers: Servers, systems: Sequence[System], results: Results, rounds: int, issues: int) -> None:
    """Post one issue at a time, each after the one before is enriched; in turns."""
    with ExitStack() as stack:
        ports = {}
        for system in systems:
            ports[system] = stack.enter_context(system.running_api())[1]
            stack.enter_context(system.running_worker())
        for system, port in ports.items():
            _times(system, port, 10)
        for _ in range(rounds):
            for system, port in ports.items():
                times = _times(system, port, issues)
                results.add(P50, system.name, statistics.median(times) * 1000)
                results.add(P99, system.name, statistics.quantiles(times, n=100)[98] * 1000)
    for system in systems:
        system.forget(servers)


def _times(system: System, port: int, issues: int) -> list[float]:
    """Return the seconds from the request to what a reader of the database sees; looks every millisecond."""
    times = []
    connection = psycopg2.connect(system.env["DATABASE_URL"])
    connection.autocommit = True
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client, connection.cursor() as cursor:
        for _ in range(issues):
            time.sleep(0.01)  # what the one before left to do is done
            started = time.perf_counter()
            answer = client.post(PATH, content=BODY, headers={"Content-Type": "application/json"})
            issue_id = answer.raise_for_status().json()["id"]
            enriched = False
            while not enriched:
                time.sleep(POLL_S)
                cursor.execute("SELECT ai_summary IS NOT NULL FROM issue WHERE id = %s", [issue_id])
                (enriched,) = cursor.fetchone() or (False,)
                assert time.perf_counter() < started + TIMEOUT_S, f"{system.name}: {issue_id} is not enriched"
            times.append(time.perf_counter() - started)
    connection.close()
    return times


def cost(servers: Servers, systems: Sequence[System], results: Results, rounds: int, jobs: int) -> None:
    """Let one worker process drain a backlog that was there before it started, in turns."""
    for _ in range(rounds):
        for system in systems:
            system.forget(servers)
            with ExitStack() as stack:
                if system.feed is None:
                    stack.enter_context(system.running_api())
                system.hand_over(jobs)
                worker = stack.enter_context(system.running_worker())
                drained(system.name, system.done, worker, jobs, results)
            system.forget(servers)


def drained(name: str, done: Callable[[], int], worker: Started, jobs: int, results: Results) -> None:
    """Watch a backlog drain, for some seconds at most; the worker's start and its first jobs do not count."""
    _reach(name, done, worker, min(jobs // 10, FIRST_JOBS), TIMEOUT_S)
    # Looking takes time too: what is done meanwhile counts against the system, at both ends.
    began, cpu = time.perf_counter(), worker.family.cpu_s()
    first = done()
    last = _reach(name, done, worker, jobs, DRAIN_S)
    elapsed, used = time.perf_counter() - began, worker.family.cpu_s() - cpu
    results.add(PER_CORE, name, (last - first) / used)
    results.add(PER_PROCESS, name, (last - first) / elapsed)


def _reach(name: str, done: Callable[[], int], worker: Started, count: int, seconds: float) -> int:
    """Wait until so many are done, or for so long; return how many are."""
    deadline = time.monotonic() + seconds
    while (reached := done()) < count and time.monotonic() < deadline:
        worker.check()
        time.sleep(POLL_S * 5)
    assert reached > 0, f"{name} does nothing"
    return reached
