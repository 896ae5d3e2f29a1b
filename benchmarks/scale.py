"""How this product's cost grows; too long for `make bench`.

python -m benchmarks.scale workers      1, 2, 4 and 8 worker processes
python -m benchmarks.scale listeners    1 to 1,000 listeners of the event stream
python -m benchmarks.scale backlogs     1,000 to 200,000 jobs that wait
"""

import argparse
import resource
import subprocess
import sys
import time

import httpx

from benchmarks.paired.jobs import drained
from benchmarks.paired.load import BODY, PATH
from benchmarks.paired.results import Results
from benchmarks.paired.servers import Servers, servers
from benchmarks.paired.systems import System, prepare
from devstack.network import wait_until
from tests.support.processes import ROOT

POSTS = 200


def workers(own: Servers, ours: System, results: Results) -> None:
    """Drain a backlog by more and more processes."""
    for processes in (1, 2, 4, 8):
        _drain(own, ours, results, f"{processes} processes", 1500 * processes, str(processes))


def backlogs(own: Servers, ours: System, results: Results) -> None:
    """Drain the beginning of longer and longer backlogs."""
    for jobs in (1_000, 10_000, 100_000, 200_000):
        _drain(own, ours, results, f"{jobs:,} jobs wait", jobs, "2")


def _drain(own: Servers, ours: System, results: Results, name: str, jobs: int, processes: str) -> None:  # noqa: PLR0913, PLR0917 - a run's parts
    with ours.running_api():
        ours.hand_over(jobs)
        with ours.running_worker(WORKER_CONCURRENCY=processes) as worker:
            drained(name, ours.done, worker, jobs, results)
    ours.forget(own)


def listeners(own: Servers, ours: System, results: Results) -> None:
    """Post one issue after the other while more and more listen, and wait until all of them have heard."""
    with ours.running_api() as (api, port):
        for count in (1, 10, 100, 1000):
            command = [sys.executable, "-m", "benchmarks.paired.listen", str(port), str(count)]
            crowd = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == "listening\n"
            before, times = api.family.cpu_s(), []
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                for _ in range(POSTS):
                    started = time.perf_counter()
                    client.post(
                        PATH, content=BODY, headers={"Content-Type": "application/json"}
                    ).raise_for_status()
                    times.append(time.perf_counter() - started)
            time.sleep(2)  # the last ones are heard
            heard = int(crowd.communicate(timeout=30)[0])
            results.add("API CPU a POST, ms", f"{count} listeners", (api.family.cpu_s() - before) / POSTS * 1000)
            results.add("slowest POST, ms", f"{count} listeners", max(times) * 1000)
            results.add("heard, of what should be", f"{count} listeners", heard / (POSTS * count))
    wait_until(lambda: ours.query(ours.undispatched) == [(False,)], 60, "all to be handed over")
    ours.forget(own)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = {"workers": workers, "listeners": listeners, "backlogs": backlogs}
    parser.add_argument("what", choices=what)
    chosen = what[parser.parse_args().what]
    # A thousand listeners are as many files, here and in the API, which inherits the bound.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = Results()
    with servers() as own:
        ours, _, _ = prepare(own)
        chosen(own, ours, results)
    for measure, systems in results.values.items():
        for name, (value,) in systems.items():
            print(f"{measure:<36} {name:<22} {value:>10,.2f}")
    print(f"noise: {results.noise.spread()}")


if __name__ == "__main__":
    main()
