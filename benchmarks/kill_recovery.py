"""How long the work of a worker that was killed with SIGKILL stays undone: this product, and plain Celery.

    python -m benchmarks.kill_recovery --kills 5

Each time two workers run; the one that holds two tasks is killed whole, and the clock runs until
both tasks are done by the other. Default settings on both sides (a lease of 30 s here, a visibility timeout of an
hour there), so plain Celery is given up on after `--give-up` seconds.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

import redis

from benchmarks.stage import stage
from devstack.network import wait_until
from devstack.process import Process
from tests.support.database import Database
from tests.support.processes import ROOT, RunningProcess, start_api, start_worker, tool
from tests.support.servers import Log, Servers
from tests.support.tasks import TASK

SECONDS = 8.0
"""Longer than a second worker takes to start."""


def ours(servers: Servers, database: Database, kills: int) -> list[float]:
    """Return the seconds from each kill until all jobs are done."""
    api = start_api(servers.env)
    app = "tests.support.misbehaving_app"
    times = []
    for _ in range(kills):
        victim = start_worker(servers.env, "victim", app)
        for _ in range(2):
            database.add_job(TASK, seconds=SECONDS)
        wait_until(lambda: database.states().get("running") == 2, 60, "both tasks to run")
        heir = start_worker(servers.env, "heir", app)
        killed = _kill(victim, lambda: database.states().get("running") == 2)
        if killed is not None:
            wait_until(lambda: database.states() == {"succeeded": 2}, 120, "the tasks to be done")
            times.append(time.monotonic() - killed)
        heir.process.stop(60)
        database.query("DELETE FROM job")
    api.process.stop(60)
    return times


def plain_celery(servers: Servers, give_up_s: float) -> float | None:
    """Return the seconds from a kill until all tasks are done; None when it was given up on."""
    os.environ.update(servers.env)
    from benchmarks.plain_celery import work  # noqa: PLC0415 - it reads the environment

    notes = redis.Redis.from_url(servers.env["CELERY_RESULT_BACKEND"])
    notes.flushall()
    victim = _start_plain(servers, "victim")
    for number in range(2):
        work.delay(number, SECONDS)
    wait_until(lambda: notes.scard("began") == 2, 60, "both tasks to run")
    heir = _start_plain(servers, "heir")
    killed = _kill(victim, lambda: notes.scard("done") == 0)
    assert killed is not None
    try:
        wait_until(lambda: notes.scard("done") == 2, give_up_s, "the tasks to be done")
    except TimeoutError:
        return None
    finally:
        heir.process.kill_group()
    return time.monotonic() - killed


def _start_plain(servers: Servers, name: str) -> RunningProcess:
    log = Log()
    command = [tool("celery"), "-A", "benchmarks.plain_celery", "worker", "--loglevel=info", "-n", f"{name}@%h"]
    process = Process(name, command, log, cwd=ROOT, env=servers.env)
    wait_until(lambda: log.has(" ready."), 60, "the worker")
    return RunningProcess(process, log)


def _kill(victim: RunningProcess, holds_work: Callable[[], bool]) -> float | None:
    if not holds_work():
        victim.process.kill_group()
        return None
    victim.process.kill_group()
    return time.monotonic()


def main() -> int:
    """Run both and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--give-up", type=float, default=90)
    arguments = parser.parse_args()
    with stage() as (servers, database):
        times = sorted(ours(servers, database, arguments.kills))
        shown = ", ".join(f"{seconds:.1f}" for seconds in times)
        print(f"IssueTracker: done after {shown} s", flush=True)
        plain = plain_celery(servers, arguments.give_up)
        outcome = f"not done after {arguments.give_up:.0f} s" if plain is None else f"done after {plain:.1f} s"
        print(f"plain Celery, acks_late: {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
