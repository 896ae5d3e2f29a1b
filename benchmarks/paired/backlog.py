"""A long backlog of this product's: whether it drains as fast at its end, and what each process holds."""

from dataclasses import replace
from itertools import pairwise

from benchmarks.paired.results import Results
from benchmarks.paired.servers import Servers
from benchmarks.paired.systems import System
from devstack.network import wait_until

RATE = "backlog, by its twentieths, 1/s"
MEMORY = "memory, MiB"
PARTS = 20
PROCESSES = "2"
TIMEOUT_S = 1800
_UNFINISHED = (
    "SELECT EXISTS (SELECT FROM job WHERE queue = 'issues' AND state IN ('pending', 'queued', 'running'))"
)
_MOMENTS = """
SELECT extract(epoch FROM finished_at) FROM (
    SELECT finished_at, row_number() OVER (ORDER BY finished_at) AS number FROM job WHERE queue = 'issues'
) ended WHERE mod(number - 1, {size}) = 0 OR number = {jobs} ORDER BY number
"""


def drain(servers: Servers, ours: System, results: Results, jobs: int) -> None:
    """Drain so many jobs by one worker; keep the rate of each twentieth, and memory before and after."""
    ours.forget(servers)
    with ours.running_api() as (api, _), ours.running_worker(WORKER_CONCURRENCY=PROCESSES) as worker:

        def weigh(when: str) -> None:
            parent, child = worker.family.memory_mib()
            for name, mib in (("API", api.family.memory_mib()[0]), ("worker", parent), ("worker's child", child)):
                results.add(MEMORY, f"{name}, {when}", mib)

        ours.hand_over(PARTS)
        wait_until(lambda: ours.done() == PARTS, TIMEOUT_S, "the first jobs")
        ours.forget(servers)
        weigh("before")
        ours.hand_over(jobs)
        wait_until(lambda: ours.query(_UNFINISHED) == [(False,)], TIMEOUT_S, "the backlog's end")
        weigh(f"after {jobs:,} jobs")
    size = jobs // PARTS
    moments = [float(str(moment)) for (moment,) in ours.query(_MOMENTS.format(size=size, jobs=jobs))]
    for part, (begun, ended) in enumerate(pairwise(moments)):
        results.add(RATE, str(part), size / (ended - begun))
    ours.forget(servers)


def model(servers: Servers, ours: System, results: Results, issues: int = 20) -> None:
    """Weigh the worker as it is installed, with its local model, after some issues."""
    installed = replace(ours, worker=("app.celery_app", *ours.worker[1:]))
    with ours.running_api(), installed.running_worker() as worker:
        ours.hand_over(issues)
        wait_until(lambda: ours.done() == issues, TIMEOUT_S, "the first issues")
        parent, child = worker.family.memory_mib()
    results.add(MEMORY, "worker with the local model", parent)
    results.add(MEMORY, "its child with the local model", child)
    ours.forget(servers)
