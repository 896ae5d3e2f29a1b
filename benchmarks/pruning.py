"""Pruning of many old jobs beside as many runs that stay: how long it takes, what it costs, what POST notices.

python -m benchmarks.pruning --jobs 200000
"""

import argparse
import statistics
import sys
import time

from benchmarks.backlog import post_ms
from benchmarks.paired.processes import Family
from benchmarks.stage import stage
from contracts.names import Task
from devstack.process import Process
from tests.support.database import Database
from tests.support.processes import start_api, start_worker

# Half of the jobs are deliveries with their row, one in a hundred has failed once.
_OLD = """
WITH made AS (
    INSERT INTO job (id, task, queue, message, state, attempts, finished_at)
    SELECT id,
        CASE mod(number, 2) WHEN 0 THEN 'app.tasks.webhooks.deliver' ELSE 'app.tasks.issues.index_issue' END,
        'default', jsonb_build_object('contract_version', '1.1.0', 'job_id', id, 'issue_id', id), 'succeeded', 1,
        now() - interval '31 days' - number * interval '1 s'
    FROM (SELECT gen_random_uuid() AS id, number FROM generate_series(1, %s) number) each
    RETURNING id, task, finished_at
), failures AS (
    INSERT INTO job_failure (job_id, attempt, kind, error, traceback, failed_at)
    SELECT id, 1, 'transient', 'OSError: unreachable', repeat('at line 1 ', 200), finished_at
    FROM made WHERE random() < 0.01
)
INSERT INTO webhook_delivery (job_id, webhook_id, event)
SELECT id, %s, 'issue.created' FROM made WHERE task = 'app.tasks.webhooks.deliver'
"""
_WAITING = """
WITH made AS (
    INSERT INTO job (id, task, queue, message, run_at)
    SELECT gen_random_uuid(), 'app.tasks.webhooks.deliver', 'default', '{}', now() + interval '1 day'
    FROM generate_series(1, %s)
    RETURNING id
)
INSERT INTO webhook_delivery (job_id, webhook_id, event) SELECT id, %s, 'issue.created' FROM made
"""
_RUNS = """
WITH made AS (
    INSERT INTO issue (id, title)
    SELECT gen_random_uuid(), 'Kept ' || number FROM generate_series(1, %s) number
    RETURNING id
), runs AS (
    INSERT INTO job (id, task, queue, message, issue_id, state, attempts, finished_at)
    SELECT gen_random_uuid(), 'app.tasks.issues.enrich_issue', 'issues', '{}', id, 'succeeded', 1,
        now() - interval '40 days' FROM made
    RETURNING id, issue_id
)
INSERT INTO enrichment (job_id, issue_id, summary, tags, provenance)
SELECT id, issue_id, 'Kept', '[]', '{}' FROM runs
"""


def wait_until_pruned(database: Database) -> int:
    """Have it pruned by as many jobs as it takes; return how many."""
    database.add_job(Task.PRUNE, "default")
    of_pruning = f"SELECT count(*) FROM job WHERE task = '{Task.PRUNE}' AND"
    while database.one(f"{of_pruning} state NOT IN ('succeeded', 'dead')"):
        time.sleep(0.2)
    assert database.one(f"{of_pruning} state = 'dead'") == 0
    return int(database.one(f"{of_pruning} true"))


def main() -> int:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200_000)
    jobs: int = parser.parse_args().jobs
    with stage() as (servers, database):
        database.query(_RUNS, jobs)
        hook = database.one(
            "INSERT INTO webhook (id, url, events, secret, created_by) VALUES"
            " (gen_random_uuid(), 'https://a.example', '{issue.deleted}', 's', 'b') RETURNING id"
        )
        database.query(_OLD, jobs, hook)
        database.query("VACUUM ANALYZE")
        api = start_api({**servers.env, "DISPATCH_POLL_SECONDS": "0.1"})
        worker = start_worker({**servers.env, "WORKER_CONCURRENCY": "1"})
        post_ms(api, 50)
        print(f"before: POST median {statistics.median(post_ms(api, 100)):.1f} ms", flush=True)
        postgres = servers.postgres_process
        assert isinstance(postgres, Process)
        families = {"worker": Family(worker.process.pid), "PostgreSQL": Family(postgres.pid)}
        before = {name: family.cpu_s() for name, family in families.items()}
        started = time.monotonic()
        runs = wait_until_pruned(database)
        took = time.monotonic() - started
        cost = ", ".join(f"{name} {family.cpu_s() - before[name]:.1f} s" for name, family in families.items())
        left = database.one("SELECT count(*) FROM job WHERE finished_at < now() - interval '30 days'")
        kept = database.one("SELECT count(*) FROM enrichment")
        print(
            f"{jobs} old jobs in {took:.1f} s by {runs} jobs, CPU: {cost}; {left} runs and {kept} enrichments stay"
        )
        database.query(_OLD, jobs, hook)
        database.add_job(Task.PRUNE, "default")
        times = post_ms(api, 100)
        print(f"meanwhile: POST median {statistics.median(times):.1f} ms, at most {max(times):.0f} ms")
        database.query(_WAITING, jobs // 2, hook)
        started = time.monotonic()
        assert api.client.delete(f"/api/v1/webhooks/{hook}").status_code == 204
        answered_ms = (time.monotonic() - started) * 1000
        while database.one("SELECT count(*) FROM webhook_delivery"):
            time.sleep(0.2)
        took = time.monotonic() - started
        print(
            f"a webhook with {jobs // 2} that wait: deleted in {answered_ms:.0f} ms, all gone after {took:.1f} s"
        )
        worker.process.kill_group()
        api.process.stop(60)
    return 0


if __name__ == "__main__":
    sys.exit(main())
