"""What traces cost: CPU of an issue from POST to done, and memory, with and without a receiver.

    python -m benchmarks.traces --issues 300 --rounds 3

Both kinds run in turns on the same servers, each with processes of its own; what counts is the processes' CPU.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping

import psutil

from benchmarks.stage import stage
from tests.support.database import Database
from tests.support.otlp import Receiver
from tests.support.processes import start_api, start_worker

MIB = 1024 * 1024


def family(pid: int) -> list[psutil.Process]:
    """Return a process and its children."""
    parent = psutil.Process(pid)
    return [parent, *parent.children()]


def cpu_s(processes: list[psutil.Process]) -> float:
    """Return the CPU seconds that they have used."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def measure(env: Mapping[str, str], database: Database, issues: int) -> dict[str, float]:
    """Enrich so many issues, after as many to warm up by; return the figures by their names."""
    database.query("TRUNCATE issue, job CASCADE")
    api, worker = start_api(env), start_worker({**env, "WORKER_CONCURRENCY": "1"})
    processes = {"API": family(api.process.pid), "worker": family(worker.process.pid)}
    try:
        before: dict[str, float] = {}
        for done in (issues, 2 * issues):
            before = {name: cpu_s(group) for name, group in processes.items()}
            for number in range(issues):
                api.post(f"Login button not working {number}", description="A click on it does nothing.")
            database.wait_for_states({"succeeded": done}, 600)
        figures = {
            f"{name}, ms CPU an issue": (cpu_s(group) - before[name]) / issues * 1000
            for name, group in processes.items()
        }
        figures["API, MiB"] = processes["API"][0].memory_info().rss / MIB
        figures["the worker's child, MiB"] = processes["worker"][-1].memory_info().rss / MIB
        return figures
    finally:
        worker.process.stop(60)
        api.process.stop(60)


def main() -> int:
    """Run it and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--issues", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    receiver = Receiver()
    kinds: dict[str, dict[str, str]] = {"off": {}, "on": {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}}
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with stage() as (servers, database):
        for _ in range(arguments.rounds):
            for kind, env in kinds.items():
                found[kind].append(measure({**servers.env, **env}, database, arguments.issues))
    print(f"{'':<28}" + "".join(f"{kind:>10}" for kind in kinds))
    for name in found["off"][0]:
        medians = [statistics.median(round_[name] for round_ in found[kind]) for kind in kinds]
        print(f"{name:<28}" + "".join(f"{median:>10.2f}" for median in medians))
    print(f"{len(receiver.spans)} spans in {len(receiver.traces())} traces")
    return 0


if __name__ == "__main__":
    sys.exit(main())
