"""After real work with every kind of end, what all services count is what the ledger's rows say."""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import redis

from contracts.names import Task
from devstack.network import free_port, wait_until
from evaluation.issues import read_rows
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.metrics import Scrape, exporter, scrape
from tests.support.processes import ROOT
from tests.support.servers import Servers
from tests.support.tasks import TASK

RECYCLING = "tests.support.recycling_app"
SHORT = {"RETRY_DELAYS": "0.1,0.1,0.1", "LEASE_SECONDS": "20", "DISPATCH_POLL_SECONDS": "0.1"}
ISSUES = 200

FAILURES = """
SELECT task, queue, kind, state = 'dead' AND attempt = attempts AS is_last, count(*)
FROM job_failure JOIN job ON job.id = job_id GROUP BY 1, 2, 3, 4
"""


def texts() -> list[dict[str, str]]:
    rows = cycle(read_rows(ROOT / "evaluation/fixtures/short_issues.jsonl", "title", "description"))
    return [{"title": row["title"], "description": row["description"]} for row in islice(rows, ISSUES)]


def test_counts_add_up_to_what_was_done(
    servers: Servers, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    api, worker_port = new_api(SHORT), free_port()
    worker = new_worker({**SHORT, "METRICS_PORT": str(worker_port), "TASKS_PER_CHILD": "100"}, app=RECYCLING)
    with ThreadPoolExecutor(2) as pool:
        assert all(answer.status_code == 201 for answer in pool.map(lambda text: api.post(**text), texts()))
    database.add_job(TASK, how="permanent")
    database.add_job(TASK, how="bug")
    database.add_job(TASK, how="transient", until=3)
    database.add_job(TASK, how="skip")
    database.add_job(TASK, how="exit", until=2)
    kill_the_child_of(database, database.add_job(TASK, seconds=30), worker_port)
    broker.lpush("issues", "no message")
    ended = {"succeeded": ISSUES + 3, "dead": 2, "skipped": 1}
    database.wait_for_states(ended, timeout_s=120)
    wait_until(lambda: unfinished(database) == 0, 120, "the index")

    with exporter(servers) as exporter_port:
        ports = (int(api.client.base_url.port or 0), worker_port, exporter_port)
        wait_until(lambda: counted(scrape(*ports)) == written(database), 30, "the last count")
        told = scrape(*ports)

    assert worker.process.exit_code is None
    assert told.by("jobs_created_total", "task") == jobs(database, "task", f"task <> '{TASK}'")
    assert told.one("http_requests_total", method="POST", route="/api/v1/issues", status_class="2xx") == ISSUES
    assert told.one("http_request_seconds_count", method="POST", route="/api/v1/issues") == ISSUES
    assert told.one("issue_enriched_seconds_count") == ISSUES
    assert told.one("provider_requests_total", outcome="ok") == ISSUES
    assert told.one("job_run_seconds_count") == told.one("job_attempts_total")
    assert told.one("job_wait_seconds_count") == told.one("job_attempts_total")
    assert told.one("worker_processes_lost_total") == 2
    assert told.one("messages_received_total", contract="same") == told.one("dispatcher_published_total")
    assert told.by("messages_rejected_total", "reason") == Counter({("undecodable",): 1})
    assert told.by("dead_letters", "kind") == Counter({("job",): 2, ("message",): 1})
    assert told.by("jobs", "task", "state") == Counter({("other", "dead"): 2})
    assert 0 < told.one("issue_enriched_seconds_sum") < ISSUES * 120


def counted(told: Scrape) -> dict[str, Counter[tuple[str, ...]]]:
    labels = ("task", "queue")
    return {
        "attempts": told.by("job_attempts_total", *labels, "outcome"),
        "ends": told.by("jobs_finished_total", *labels, "outcome"),
        "retries": told.by("job_retries_total", *labels, "kind"),
    }


def written(database: Database) -> dict[str, Counter[tuple[str, ...]]]:
    """Return what the ledger's rows say of the same."""
    ends = jobs(database, "task, queue, state", "state IN ('succeeded', 'skipped', 'dead')")
    attempts = Counter({key: number for key, number in ends.items() if key[2] != "dead"})
    retries: Counter[tuple[str, ...]] = Counter()
    for row in database.query(FAILURES):
        outcome = "lost" if row["kind"] == "lost" else "dead" if row["is_last"] else "retrying"
        attempts[row["task"], row["queue"], outcome] += row["count"]
        if not row["is_last"]:
            retries[row["task"], row["queue"], row["kind"]] += row["count"]
    assert attempts.total() == database.one("SELECT sum(attempts) FROM job")
    return {"attempts": attempts, "ends": ends, "retries": retries}


def jobs(database: Database, columns: str, where: str) -> Counter[tuple[str, ...]]:
    rows = database.query(f"SELECT {columns}, count(*) AS number FROM job WHERE {where} GROUP BY {columns}")
    return Counter({tuple(str(value) for value in list(row.values())[:-1]): row["number"] for row in rows})


def unfinished(database: Database) -> int:
    found: int = database.one(
        "SELECT count(*) FROM job WHERE task = %s AND state <> 'succeeded'", Task.INDEX_ISSUE
    )
    return found


def kill_the_child_of(database: Database, job_id: object, worker_port: int) -> None:
    """Kill the process that runs a job, as the system does without memory; the next attempt takes no time."""

    def running() -> bool:
        begun = database.one("SELECT sum(attempts) FROM job WHERE task = %s", TASK)
        is_running = database.one("SELECT state = 'running' FROM job WHERE id = %s", job_id)
        # And its beginning has been counted.
        return bool(is_running and scrape(worker_port).one("job_wait_seconds_count", task=TASK) == begun)

    wait_until(running, 120, "the job to run")
    database.query("UPDATE job SET message = message - 'seconds' WHERE id = %s", job_id)
    worker: str = database.one("SELECT worker FROM job WHERE id = %s", job_id)
    os.kill(int(worker.rpartition("/")[2]), signal.SIGKILL)
