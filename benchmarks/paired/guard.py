"""Fails when a POST or a job has become dearer: CPU against the naive twin's in the same run. Under two minutes.

    make bench-guard

CPU time and a ratio, since both hold on a machine that others use too. docs/benchmarks.md says
where the bounds come from.
"""

import sys

from benchmarks.paired import jobs, post
from benchmarks.paired.results import Results
from benchmarks.paired.servers import servers
from benchmarks.paired.systems import prepare

ROUNDS = 3
SECONDS = 3
JOBS = 400
API_CPU_MAX = 0.25
"""Of the naive twin's."""
JOBS_MIN = 0.5
"""Of the naive twin's jobs, for the same worker CPU."""


def main() -> int:
    """Measure, and return the exit code."""
    results = Results()
    with servers() as own:
        ours, naive, _ = prepare(own)
        post.full(own, [ours, naive], results, ROUNDS, SECONDS)
        jobs.cost(own, [ours, naive], results, ROUNDS, JOBS)
    cpu, done = results.ratio(post.API_CPU, "ours", "naive"), results.ratio(jobs.PER_CORE, "ours", "naive")
    assert cpu is not None
    assert done is not None
    print(f"API CPU a POST, by the naive twin's: {cpu:.3f} (at most {API_CPU_MAX})")
    print(f"jobs for the same worker CPU, by the naive twin's: {done:.2f} (at least {JOBS_MIN})")
    for measure, systems in results.values.items():
        for name, values in systems.items():
            print(f"  {measure:<34} {name:<6}" + "".join(f"{value:>9.2f}" for value in values))
    return 0 if cpu <= API_CPU_MAX and done >= JOBS_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
