"""How the product's cost grows: with the length of a backlog, and with the number of issues in the database."""

from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise

from benchmarks.results import Results
from benchmarks.systems import NEW_ID, System, create_ours
from devstack.network import wait_until

RATE = "backlog, by twentieths, 1/s"
MEMORY = "largest worker process, MiB"
DUE_QUERY = "due query, per job, ms"
CLAIM = "claim, per job, ms"
PARTS = 20
DUE_JOBS = 10_000
JOBS = 500
TIMEOUT_S = 1800
_UNFINISHED = "SELECT EXISTS (SELECT FROM job WHERE state IN ('pending', 'queued', 'running'))"
_FINISHED_AT = """
SELECT extract(epoch FROM finished_at) AS at FROM (
    SELECT finished_at, row_number() OVER (ORDER BY finished_at) AS number FROM job WHERE queue = 'issues'
) ended WHERE mod(number - 1, {size}) = 0 OR number = {jobs} ORDER BY number
"""
_FILL = """
SET session_replication_role = replica;
INSERT INTO issue (id, title, description, tags) SELECT {new_id}, 'Issue ' || n, 'It does nothing.', 'bug'
FROM generate_series(1, {count}) n;
INSERT INTO job (id, task, queue, message, issue_id, state, attempts, finished_at)
SELECT {new_id}, 'app.tasks.issues.enrich_issue', 'issues', '{{}}', id, 'succeeded', 1, now() FROM issue;
RESET session_replication_role;
"""
_DUE = """
INSERT INTO job (id, task, queue, message, issue_id)
SELECT job_id, 'app.tasks.issues.enrich_issue', 'issues',
    jsonb_build_object('contract_version', '1.0.0', 'job_id', job_id, 'issue_id', id), id
FROM (SELECT id, {new_id} AS job_id FROM issue LIMIT {count}) due
"""
_TIME = """
SELECT sum(total_exec_time) / sum(rows) FROM pg_stat_statements
WHERE rows > 0 AND {statement}
"""
_STATEMENTS = {
    DUE_QUERY: "query ILIKE '%skip locked%' AND query ILIKE '%queued_at%' AND query ILIKE '%run_at%'",
    CLAIM: "query ILIKE '%update job set%' AND query ILIKE '%tries%' AND query ILIKE '%started_at%'"
    " AND query NOT ILIKE '%skip locked%'",
}


def measure_backlog(ours: System, results: Results, jobs: int) -> None:
    """Drain a backlog with one worker of two processes."""
    with ours.running_api(), ours.running_worker(processes=2) as worker:
        ours.add_backlog(PARTS)
        wait_until(lambda: ours.done() == PARTS, TIMEOUT_S, "the first jobs")
        ours.clear()
        results.add(MEMORY, "before", worker.memory_mib())
        ours.add_backlog(jobs)
        wait_until(lambda: not ours.database.one(_UNFINISHED), TIMEOUT_S, "the end of the backlog")
        results.add(MEMORY, f"after {jobs:,} jobs", worker.memory_mib())
    size = jobs // PARTS
    rows = ours.database.query(_FINISHED_AT.format(size=size, jobs=jobs))
    for part, (began, ended) in enumerate(pairwise(float(row["at"]) for row in rows)):
        results.add(RATE, str(part), size / (ended - began))
    ours.clear()


def measure_issues(results: Results, rounds: int, few: int, many: int) -> None:
    """Measure the due query and the claim beside few and many issues, with PostgreSQL's own clock."""
    with ExitStack() as stack:
        systems = {count: _create(stack, count) for count in (few, many)}
        for _ in range(rounds):
            for count, system in systems.items():
                _run(system, results, f"{count:,} issues")


def _create(stack: ExitStack, count: int) -> System:
    ours = create_ours(stack, options=("-c", "shared_preload_libraries=pg_stat_statements"))
    system = replace(ours, finished="SELECT count(*) FROM enrichment")
    with system.servers.superuser() as cursor:
        cursor.execute("CREATE EXTENSION pg_stat_statements")
        cursor.execute(_FILL.format(count=count, new_id=NEW_ID))
        for table in ("issue", "job"):
            cursor.execute(f"VACUUM ANALYZE {table}")
    return system


def _run(system: System, results: Results, name: str) -> None:
    system.database.query(_DUE.format(count=DUE_JOBS, new_id=NEW_ID))
    with system.running_api(QUEUE_BOUND="100"), system.running_worker():
        wait_until(lambda: system.done() > 0, TIMEOUT_S, "the first job")
        with system.servers.superuser() as cursor:
            cursor.execute("SELECT pg_stat_statements_reset()")
            first = system.done()
            wait_until(lambda: system.done() >= first + JOBS, TIMEOUT_S, "the jobs")
            for measure, statement in _STATEMENTS.items():
                cursor.execute(_TIME.format(statement=statement))
                (milliseconds,) = cursor.fetchone()
                assert milliseconds is not None, f"no statement of the product matches: {statement}"
                results.add(measure, name, float(milliseconds))
    system.database.query("DELETE FROM enrichment; DELETE FROM job WHERE message <> '{}'")
