"""Urgent issues behind a backlog of another project, and two projects that flood at once."""

import statistics

import httpx

from benchmarks.load import PATH
from benchmarks.results import Results
from benchmarks.systems import NEW_ID, System
from devstack.network import wait_until

URGENT = "critical POST to enriched behind a backlog, p99, s"
SHARE = "smaller share of two projects, %"
TIMEOUT_S = 600
_FLOOD = """
WITH new AS (
    INSERT INTO issue (id, title, description, project)
    SELECT {new_id}, 'Issue ' || n, 'It does nothing.', '{project}' FROM generate_series(1, {count}) n RETURNING id
), ids AS (SELECT {new_id} AS job_id, id AS issue_id FROM new)
INSERT INTO job (id, task, queue, message, issue_id, project)
SELECT job_id, 'app.tasks.issues.enrich_issue', 'issues',
    jsonb_build_object('contract_version', '1.0.0', 'job_id', job_id, 'issue_id', issue_id), issue_id, '{project}'
FROM ids
"""
_ENDED = "SELECT count(*) FROM job WHERE queue = 'issues' AND project = %s AND finished_at IS NOT NULL"
_TIMES = """
SELECT extract(epoch FROM finished_at - created_at)::float AS s FROM job
WHERE queue = 'issues' AND project = 'urgent'
"""


def measure_urgent(ours: System, results: Results, backlog: int, posts: int) -> None:
    """Post critical issues one by one while a worker of two processes drains another project's backlog."""
    with ours.running_api() as (_, port), ours.running_worker(processes=2):
        _flood(ours, "backlog", backlog)
        wait_until(lambda: ours.database.one(_ENDED, "backlog") > 0, TIMEOUT_S, "the backlog to start")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for number in range(posts):
                issue = {"title": f"Outage {number}", "project": "urgent", "priority": "critical"}
                client.post(PATH, json=issue).raise_for_status()
        wait_until(lambda: ours.database.one(_ENDED, "urgent") == posts, TIMEOUT_S, "the urgent issues")
        times = [row["s"] for row in ours.database.query(_TIMES)]
    results.add(URGENT, "ours", statistics.quantiles(times, n=100)[98])
    ours.clear()


def measure_share(ours: System, results: Results, jobs: int) -> None:
    """Let two projects flood at once, the first a moment earlier; count when a worker has done half of a flood."""
    _flood(ours, "first", jobs)
    _flood(ours, "second", jobs)
    with ours.running_api(), ours.running_worker(processes=2):

        def ended() -> list[int]:
            return [ours.database.one(_ENDED, project) for project in ("first", "second")]

        wait_until(lambda: sum(ended()) >= jobs / 2, TIMEOUT_S, "half of a flood")
        done = ended()
    results.add(SHARE, "ours", 100 * min(done) / sum(done))
    ours.clear()


def _flood(ours: System, project: str, count: int) -> None:
    ours.database.query(_FLOOD.format(new_id=NEW_ID, project=project, count=count))
