"""A backlog that waits for its provider: memory of every process before and during, then the recovery.

    python -m benchmarks.provider_down --jobs 100000

The jobs are inserted by SQL; they call a real HTTP server, which answers 503 until it is told to answer 200.
"""

import argparse
import sys
import time

import psutil
import redis

from benchmarks.stage import stage
from tests.support.database import Database
from tests.support.processes import start_api, start_worker
from tests.support.provider import Provider
from tests.support.tasks import PROVIDER_TASK

MIB = 1024 * 1024


def add_jobs(database: Database, count: int, url: str) -> None:
    """Insert pending jobs that ask the provider."""
    database.query(
        """
        INSERT INTO job (id, task, queue, message)
        SELECT id, %s, 'issues', jsonb_build_object('contract_version', '1.0.0', 'job_id', id, 'url', %s::text)
        FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) ids
        """,
        PROVIDER_TASK,
        url,
        count,
    )


def main() -> int:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--down", type=float, default=60, help="seconds that the provider stays down")
    arguments = parser.parse_args()
    provider = Provider()
    provider.status = 503
    with stage() as (servers, database), redis.Redis(port=servers.redis_port) as broker:
        api = start_api(servers.env)
        worker = start_worker(servers.env, app="tests.support.misbehaving_app")

        def report(when: str) -> None:
            parent = psutil.Process(worker.process.pid)
            rss = {
                "api": psutil.Process(api.process.pid).memory_info().rss,
                "worker": parent.memory_info().rss,
                "its children": sum(child.memory_info().rss for child in parent.children()),
                "valkey": broker.info("memory")["used_memory"],
            }
            sizes = ", ".join(f"{name} {size / MIB:.1f}" for name, size in rss.items())
            print(f"{when}: MiB {sizes}; {broker.llen('issues')} messages wait", flush=True)

        api.post("Warm up")
        database.wait_for_states({"succeeded": 1})
        report("idle")
        add_jobs(database, arguments.jobs, provider.url)
        started = time.monotonic()
        slowest = 0.0
        while time.monotonic() - started < arguments.down:
            asked = time.monotonic()
            assert api.post("While the provider is down").status_code == 201
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.5)
        report(f"provider down for {arguments.down:.0f} s")
        print(
            f"the provider was asked {provider.requests} times, attempts that failed "
            f"{database.one('SELECT count(*) FROM job_failure')}, slowest POST {slowest * 1000:.0f} ms, "
            f"ledger {database.states()}",
            flush=True,
        )
        provider.status = 200
        back = time.monotonic()
        while {"pending", "queued", "running", "retrying"} & database.states().keys():
            time.sleep(2)  # counting all jobs costs more than working on them
        took = time.monotonic() - back
        report("recovered")
        print(f"all done {took:.0f} s after the provider was back, {arguments.jobs / took:.0f} a second")
        print(f"ledger {database.states()}, effects {database.one('SELECT count(*) FROM effect')}")
        worker.process.stop(60)
        api.process.stop(60)
    provider.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
