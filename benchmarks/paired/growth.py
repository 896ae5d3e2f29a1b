"""What the due query and the claim take with few and with many issues in the table, by PostgreSQL's own clock.

The product's own processes work on ten thousand due jobs beside the issues; pg_stat_statements tells what its
statements took. They are found by what they say, whoever sends them.
"""

from benchmarks.paired.results import Results
from benchmarks.paired.servers import Servers, migrate, servers
from benchmarks.paired.sql import NEW_ID
from benchmarks.paired.systems import System, prepared
from devstack.network import wait_until
from devstack.postgres import EXTENSIONS

TAKE_DUE = "due query, a job, ms"
CLAIM = "claim, a job, ms"
STATEMENTS = ("-c", "shared_preload_libraries=pg_stat_statements")
DUE = 10_000
JOBS = 500
TIMEOUT_S = 120
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
SELECT coalesce(sum(total_exec_time) / nullif(sum(rows), 0), 0) FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND {which}
"""
_STATEMENT_OF = {
    TAKE_DUE: "query ILIKE '%skip locked%' AND query ILIKE '%queued_at%' AND query ILIKE '%run_at%'",
    CLAIM: "query ILIKE '%update job set%' AND query ILIKE '%tries%' AND query ILIKE '%started_at%'"
    " AND query NOT ILIKE '%skip locked%'",
}


def measure(results: Results, rounds: int, few: int, many: int) -> None:
    """Measure both in turns, on servers of their own."""
    with servers(STATEMENTS) as own:
        sizes = {count: _filled(own, count) for count in (few, many)}
        for _ in range(rounds):
            for count, system in sizes.items():
                _round(own, system, results, f"{count:,} issues")


def _filled(own: Servers, count: int) -> System:
    name = f"issues_{count}"
    own.create(name, (*EXTENSIONS, "pg_stat_statements"))
    system = prepared(own, name)
    migrate(system.env)
    with own.superuser(name) as cursor:
        cursor.execute(_FILL.format(count=count, new_id=NEW_ID))
        for table in ("issue", "job"):
            cursor.execute(f"VACUUM ANALYZE {table}")
    return system


def _round(own: Servers, system: System, results: Results, name: str) -> None:
    own.flush()
    system.query(_DUE.format(count=DUE, new_id=NEW_ID))
    with system.running_api(QUEUE_BOUND="100"), system.running_worker():
        wait_until(lambda: _count(system) > 0, TIMEOUT_S, "the first job")
        with own.superuser(system.name) as cursor:
            cursor.execute("SELECT pg_stat_statements_reset()")
            first = _count(system)
            wait_until(lambda: _count(system) >= first + JOBS, TIMEOUT_S, "the jobs")
            for measure_name, which in _STATEMENT_OF.items():
                cursor.execute(_TIME.format(which=which))
                (milliseconds,) = cursor.fetchone() or (0,)
                results.add(measure_name, name, float(milliseconds))
    # The jobs of this round, done or due.
    system.query("DELETE FROM enrichment")
    system.query("DELETE FROM job WHERE message <> '{}'")


def _count(system: System) -> int:
    return int(str(system.query("SELECT count(*) FROM enrichment")[0][0]))
