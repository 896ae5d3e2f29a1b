"""POST: how many a second one process takes, what each costs, and how long the slowest wait."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.paired.client import at_rate, full_load
from benchmarks.paired.processes import Family, Started
from benchmarks.paired.results import Results
from benchmarks.paired.servers import Servers
from benchmarks.paired.systems import System
from devstack.network import wait_until

PER_SECOND = "POST, 32 connections, 1/s"
API_CPU = "POST, CPU of the API, ms"
POSTGRES_CPU = "POST, CPU of PostgreSQL, ms"
P50 = "POST at 80% of naive's rate, p50, ms"
P99 = "POST at 80% of naive's rate, p99, ms"
SHARE = 0.8
UNBOUNDED = {"QUEUE_BOUND": "1000000"}
"""Nobody takes the messages away here, and all are to be paid for."""


def full(servers: Servers, systems: Sequence[System], results: Results, rounds: int, seconds: int) -> None:
    """Load all systems fully in turns, each process alone at work in its turn."""
    with _apis(servers, systems) as apis:
        for _ in range(rounds):
            for system, (started, port) in apis.items():
                _full(servers, system, started, port, results, seconds)


def steady(servers: Servers, systems: Sequence[System], results: Results, rounds: int, seconds: int) -> None:
    """Load all systems in turns by what the naive one can bear, which has been measured."""
    naive = results.median(PER_SECOND, "naive")
    assert naive is not None
    with _apis(servers, systems) as apis:
        for _ in range(rounds):
            for system, (_, port) in apis.items():
                answered = at_rate(port, seconds, naive * SHARE)
                results.add(P50, system.name, answered["p50_ms"])
                results.add(P99, system.name, answered["p99_ms"])
                _settle(servers, system)


@contextmanager
def _apis(servers: Servers, systems: Sequence[System]) -> Iterator[dict[System, tuple[Started, int]]]:
    with ExitStack() as stack:
        apis = {system: stack.enter_context(system.running_api(**UNBOUNDED)) for system in systems}
        for system, (_, port) in apis.items():
            full_load(port, 1)
            _settle(servers, system)
        yield apis


def _full(  # noqa: PLR0913, PLR0917 - one round's parts
    servers: Servers, system: System, started: Started, port: int, results: Results, seconds: int
) -> None:
    assert servers.postgres.process is not None
    families = {API_CPU: started.family, POSTGRES_CPU: Family(servers.postgres.process.pid)}
    before = {name: family.cpu_s() for name, family in families.items()}
    answered = full_load(port, seconds)
    # The load ends with requests under way, which cost as much as the others.
    posted = _settled(system)
    for name, family in families.items():
        results.add(name, system.name, (family.cpu_s() - before[name]) / posted * 1000)
    results.add(PER_SECOND, system.name, answered["per_second"])
    _settle(servers, system)


def _settled(system: System) -> int:
    """Wait until nothing is added and all is handed over; return how many issues there are."""
    before, posted = -1, 0
    while before != posted:
        time.sleep(0.3)
        before, posted = posted, int(str(system.query("SELECT count(*) FROM issue")[0][0]))
    wait_until(lambda: system.query(system.undispatched) == [(False,)], 60, "all to be handed over")
    return posted


def _settle(servers: Servers, system: System) -> None:
    """Leave nothing behind that costs the next one's turn."""
    _settled(system)
    system.forget(servers)
