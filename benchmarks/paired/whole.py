"""What one issue costs each part of an installation, from POST until it is enriched and indexed, with the models.

`benchmarks/capacity.py` computes from it how much of each part a rate of issues needs.
"""

import time
from contextlib import ExitStack
from dataclasses import replace

import httpx

from benchmarks.paired.load import PATH
from benchmarks.paired.processes import Family
from benchmarks.paired.results import Results
from benchmarks.paired.servers import Servers
from benchmarks.paired.systems import System
from devstack.network import wait_until
from tests.support.processes import WORKER

COST = "an issue in full, CPU, ms"
DISK = "an issue in full, disk, kB"
WARM_UP = 20
TIMEOUT_S = 600
_UNFINISHED = "SELECT EXISTS (SELECT FROM job WHERE state IN ('pending', 'queued', 'running', 'retrying'))"
_STEPS = """### Steps to reproduce

1. Open the settings of project {number} and choose another time zone.
2. Save, and open the list of builds in a second tab.
3. Sort by date. The order is that of the old zone, while the dates are shown in the new one.

After a restart of the server both agree, so I suspect a cache that is keyed by user only. It happens in Firefox
and in Chromium, with and without extensions, and since version 4.{number} also for users who never changed
their zone.

```
Traceback (most recent call last):
  File "views/builds.py", line {number}, in list_builds
    zone = cache[user.id]["zone"]
KeyError: 'zone'
```
"""


def measure(servers: Servers, ours: System, results: Results, issues: int) -> None:
    """Post issues like those of real projects, one after the other, to the product as it is installed."""
    assert servers.postgres.process is not None
    assert servers.valkey.process is not None
    ours.forget(servers)
    workers = {
        name: replace(ours, worker=("app.celery_app", WORKER, ("--queues", name)))
        for name in ("issues", "default")
    }
    with ExitStack() as stack:
        api, port = stack.enter_context(ours.running_api())
        families = {
            "API": api.family,
            **{
                f"worker {name}": stack.enter_context(worker.running_worker()).family
                for name, worker in workers.items()
            },
            "PostgreSQL": Family(servers.postgres.process.pid),
            "Valkey": Family(servers.valkey.process.pid),
        }
        _post(ours, port, WARM_UP)
        idle_s = 3.0
        at_rest = {name: family.cpu_s() for name, family in families.items()}
        time.sleep(idle_s)
        before, began, size = (
            {name: family.cpu_s() for name, family in families.items()},
            time.monotonic(),
            _size(ours),
        )
        _post(ours, port, issues)
        elapsed = time.monotonic() - began
        for name, family in families.items():
            idle = (before[name] - at_rest[name]) / idle_s * elapsed
            results.add(COST, name, (family.cpu_s() - before[name] - idle) / issues * 1000)
        results.add(DISK, "PostgreSQL", (_size(ours) - size) / issues / 1000)
    ours.forget(servers)


def _post(ours: System, port: int, issues: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for number in range(issues):
            issue = {
                "title": f"Builds are sorted by the old time zone ({number})",
                "description": _STEPS.format(number=number),
            }
            client.post(PATH, json=issue).raise_for_status()
    wait_until(lambda: ours.query(_UNFINISHED) == [(False,)], TIMEOUT_S, "all issues to be enriched and indexed")


def _size(ours: System) -> int:
    return int(str(ours.query("SELECT pg_database_size(current_database())")[0][0]))
