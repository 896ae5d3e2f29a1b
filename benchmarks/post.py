"""POST: requests per second of one process, CPU of each, and latency at a steady rate."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.processes import Started
from benchmarks.results import Results
from benchmarks.systems import System, run
from devstack.network import wait_until

PER_SECOND = "POST, 32 connections, 1/s"
API_CPU = "POST, CPU of the API, ms"
POSTGRES_CPU = "POST, CPU of PostgreSQL, ms"
P99 = "POST at 80% of naive's rate, p99, ms"
SHARE = 0.8


def measure_full(systems: Sequence[System], results: Results, rounds: int, seconds: int) -> None:
    """Load each system fully, in turns."""
    with _apis(systems) as apis:
        for _ in range(rounds):
            for system, (api, port) in apis.items():
                before = api.cpu_s(), system.postgres_cpu_s()
                results.add(PER_SECOND, system.name, _load(port, seconds)["per_second"])
                # The requests under way when the load ends are counted too.
                posted = _wait_until_settled(system)
                results.add(API_CPU, system.name, (api.cpu_s() - before[0]) / posted * 1000)
                results.add(POSTGRES_CPU, system.name, (system.postgres_cpu_s() - before[1]) / posted * 1000)
                system.clear()


def measure_steady(systems: Sequence[System], results: Results, rounds: int, seconds: int) -> None:
    """Load each system, in turns, at 80% of what the naive one was measured to take."""
    naive = results.median(PER_SECOND, "naive")
    assert naive is not None
    with _apis(systems) as apis:
        for _ in range(rounds):
            for system, (_, port) in apis.items():
                results.add(P99, system.name, _load(port, seconds, "--rate", f"{naive * SHARE:g}")["p99_ms"])
                _wait_until_settled(system)
                system.clear()


@contextmanager
def _apis(systems: Sequence[System]) -> Iterator[dict[System, tuple[Started, int]]]:
    with ExitStack() as stack:
        # No worker runs, and every message is to be published.
        apis = {system: stack.enter_context(system.running_api(QUEUE_BOUND="1000000")) for system in systems}
        for system, (_, port) in apis.items():
            _load(port, 1)
            _wait_until_settled(system)
            system.clear()
        yield apis


def _load(port: int, seconds: int, *options: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.load", str(port), "--seconds", str(seconds), *options]
    result: dict[str, float] = json.loads(run(command, {}))
    return result


def _wait_until_settled(system: System) -> int:
    """Wait until no issue is added and every job is published; return the number of issues."""
    before, posted = -1, 0
    while before != posted:
        time.sleep(0.3)
        before, posted = posted, int(system.database.one("SELECT count(*) FROM issue"))
    wait_until(lambda: not system.database.one(system.undispatched), 60, "the publication of all jobs")
    return posted
