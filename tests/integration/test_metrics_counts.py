"""After jobs with every outcome, the metrics of all services equal the rows of the ledger."""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import redis

from contracts.names import Task
from evaluation.issues import read_rows
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.metrics import Scrape, exporter, scrape
from tests.support.ports import free_port
from tests.support.processes import ROOT
from tests.support.servers import Servers
from tests.support.tasks import TASK
from tests.support.waiting import wait_until

RECYCLING = "tests.support.recycling_app"
SHORT = {"RETRY_DELAYS": "0.1,0.1,0.1", "LEASE_SECONDS": "20", "DISPATCH_POLL_SECONDS": "0.1"}
ISSUES = 60

FAILURES = """
SELECT task, queue, kind, state = 'dead' AND attempt = attempts AS is_last, count(*)
FROM job_failure JOIN job ON job.id = job_id GROUP BY 1, 2, 3, 4
"""


def read_issue_texts() -> list[dict[str, str]]:
    rows = cycle(read_rows(ROOT / "evaluation/fixtures/short_issues.jsonl", "title", "description"))
    return [{"title": row["title"], "description": row["description"]} for row in islice(rows, ISSUES)]


def test_metrics_after_mixed_jobs_equal_ledger(
    servers: Servers, new_api: ApiFactory, new_worker: WorkerFactory, database: Database, broker: redis.Redis
) -> None:
    api, worker_port = new_api(SHORT), free_port()
    worker = new_worker({**SHORT, "METRICS_PORT": str(worker_port), "TASKS_PER_CHILD": "30"}, app=RECYCLING)
    with ThreadPoolExecutor(2) as pool:
        assert all(
            answer.status_code == 201 for answer in pool.map(lambda text: api.post(**text), read_issue_texts())
        )
    database.add_job(TASK, how="permanent")
    database.add_job(TASK, how="bug")
    database.add_job(TASK, how="transient", until=3)
    database.add_job(TASK, how="skip")
    database.add_job(TASK, how="exit", until=2)
    kill_process_of_job(database, database.add_job(TASK, seconds=30), worker_port)
    broker.lpush("issues", "no message")
    expected_states = {"succeeded": ISSUES + 3, "dead": 2, "skipped": 1}
    database.wait_for_states(expected_states)
    wait_until(lambda: count_unindexed_issues(database) == 0, "all issues to be indexed")

    with exporter(servers) as exporter_port:
        ports = (int(api.client.base_url.port or 0), worker_port, exporter_port)
        wait_until(
            lambda: counts_in_metrics(scrape(*ports)) == counts_in_ledger(database),
            "the metrics to equal the ledger",
        )
        # A process counts these after it has committed the attempt, published or rejected the message.
        wait_until(lambda: are_later_counts_complete(scrape(*ports)), "the counts after the ledger's")
        metrics = scrape(*ports)

    assert worker.process.exit_code is None
    assert metrics.by("jobs_created_total", "task") == jobs(database, "task", f"task <> '{TASK}'")
    assert metrics.one("http_requests_total", method="POST", route="/api/v1/issues", status_class="2xx") == ISSUES
    assert metrics.one("http_request_seconds_count", method="POST", route="/api/v1/issues") == ISSUES
    assert metrics.one("issue_enriched_seconds_count") == ISSUES
    assert metrics.one("provider_requests_total", outcome="ok") == ISSUES
    assert metrics.one("job_run_seconds_count") == metrics.one("job_attempts_total")
    assert metrics.one("job_wait_seconds_count") == metrics.one("job_attempts_total")
    assert metrics.one("worker_processes_lost_total") == 2
    assert metrics.one("messages_received_total", contract="same") == metrics.one("dispatcher_published_total")
    assert metrics.by("messages_rejected_total", "reason") == Counter({("undecodable",): 1})
    assert metrics.by("dead_letters", "kind") == Counter({("job",): 2, ("message",): 1})
    assert metrics.by("jobs", "task", "state") == Counter({("other", "dead"): 2})
    assert 0 < metrics.one("issue_enriched_seconds_sum") < ISSUES * 120


def are_later_counts_complete(metrics: Scrape) -> bool:
    received = metrics.one("messages_received_total", contract="same")
    return (
        metrics.one("issue_enriched_seconds_count") >= ISSUES
        and metrics.one("provider_requests_total", outcome="ok") >= ISSUES
        and metrics.one("job_run_seconds_count") >= metrics.one("job_attempts_total")
        and metrics.one("dispatcher_published_total") >= received
        and metrics.one("dead_letters") >= 3
        and metrics.by("jobs", "task", "state") != {}
    )


def counts_in_metrics(metrics: Scrape) -> dict[str, Counter[tuple[str, ...]]]:
    labels = ("task", "queue")
    return {
        "attempts": metrics.by("job_attempts_total", *labels, "outcome"),
        "ends": metrics.by("jobs_finished_total", *labels, "outcome"),
        "retries": metrics.by("job_retries_total", *labels, "kind"),
    }


def counts_in_ledger(database: Database) -> dict[str, Counter[tuple[str, ...]]]:
    """Return the same counts from the rows of the ledger."""
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


def count_unindexed_issues(database: Database) -> int:
    found: int = database.one(
        "SELECT count(*) FROM job WHERE task = %s AND state <> 'succeeded'", Task.INDEX_ISSUE
    )
    return found


def kill_process_of_job(database: Database, job_id: object, worker_port: int) -> None:
    """Kill the process that runs a job, as the out-of-memory killer does. The next attempt ends immediately."""

    def is_running_and_counted() -> bool:
        started = database.one("SELECT sum(attempts) FROM job WHERE task = %s", TASK)
        is_running = database.one("SELECT state = 'running' FROM job WHERE id = %s", job_id)
        # The metrics already contain the start of the attempt.
        return bool(is_running and scrape(worker_port).one("job_wait_seconds_count", task=TASK) == started)

    wait_until(is_running_and_counted, "the job to run")
    database.query("UPDATE job SET message = message - 'seconds' WHERE id = %s", job_id)
    worker: str = database.one("SELECT worker FROM job WHERE id = %s", job_id)
    os.kill(int(worker.rpartition("/")[2]), signal.SIGKILL)
