"""A backlog that outlives many leases: what it does to Redis and to POST, and whether anything is published twice.

python -m benchmarks.backlog --jobs 200000 --seconds 90
"""

import argparse
import statistics
import sys
import time

import redis

from benchmarks.stage import stage
from tests.support.processes import Api, start_api, start_worker
from tests.support.tasks import TASK

MIB = 1024 * 1024


def post_ms(api: Api, count: int) -> list[float]:
    """Return the times of some POSTs, one after the other, in milliseconds."""
    times = []
    for _ in range(count):
        started = time.monotonic()
        assert api.post("A page is empty").status_code == 201
        times.append((time.monotonic() - started) * 1000)
    return times


def main() -> int:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=90)
    arguments = parser.parse_args()
    with stage() as (servers, database), redis.Redis(port=servers.redis_port) as broker:
        api = start_api(servers.env)
        post_ms(api, 50)
        print(f"empty: POST median {statistics.median(post_ms(api, 200)):.1f} ms", flush=True)
        # Each takes 0.2 s, so that most wait for hours.
        database.query(
            """
            INSERT INTO job (id, task, queue, message)
            SELECT id, %s, 'issues', jsonb_build_object('contract_version', '1.0.0', 'job_id', id, 'seconds', 0.2)
            FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, %s)) ids
            """,
            TASK,
            arguments.jobs,
        )
        worker = start_worker(servers.env, app="tests.support.misbehaving_app")
        deadline, longest, largest, times = time.monotonic() + arguments.seconds, 0, 0.0, []
        while time.monotonic() < deadline:
            times += post_ms(api, 5)
            longest = max(longest, int(broker.llen("issues")))
            largest = max(largest, broker.info("memory")["used_memory"] / MIB)
            time.sleep(0.3)
        ids = [message.split(b'"id": "')[1][:36] for message in broker.lrange("issues", 0, -1)]
        print(
            f"{arguments.jobs} jobs for {arguments.seconds:.0f} s: POST median {statistics.median(times):.1f} ms, "
            f"at most {longest} messages and {largest:.1f} MiB in Valkey, "
            f"{len(ids) - len(set(ids))} jobs twice in the queue, "
            f"{database.one('SELECT max(attempts) FROM job')} attempt at most, {database.states()}"
        )
        worker.process.kill_group()
        api.process.stop(60)
    return 0


if __name__ == "__main__":
    sys.exit(main())
