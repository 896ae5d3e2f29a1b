"""The exporter reports the ledger and the broker, and omits the gauges of a server that is down."""

import signal
from collections.abc import Iterator
from math import inf

import psycopg2
import pytest
import redis

from contracts.ledger.classes import PriorityClass
from contracts.names import QUEUE_OF, ScheduleName, Task
from tests.support.database import Database
from tests.support.metrics import exporter, scrape, scrape_exporter
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("metrics_exporter")

ENRICH = {"task": Task.ENRICH_ISSUE.value, "queue": QUEUE_OF[Task.ENRICH_ISSUE].value}


@pytest.fixture(scope="module")
def port(servers: Servers) -> Iterator[int]:
    with exporter(servers) as found:
        yield found


def test_exporter_reports_jobs_of_ledger(port: int, database: Database, broker: redis.Redis) -> None:
    metrics = scrape_exporter(port)
    assert metrics.by("jobs", "task") == {}
    assert metrics.has("jobs"), "each series must exist with the value 0"
    assert metrics.one("schema_at_head") == metrics.one("database_up") == 1
    assert metrics.one("database_size_bytes") > 0

    jobs = [database.add_job(Task.ENRICH_ISSUE) for _ in range(5)]
    database.add_job("foreign.task", "foreign")
    database.query("UPDATE job SET run_at = now() - interval '100 s' WHERE id = %s", jobs[0])
    database.query("UPDATE job SET state = 'retrying', run_at = now() + interval '1 h' WHERE id = %s", jobs[1])
    database.query(
        "UPDATE job SET state = 'queued', run_at = now() - interval '300 s', lease_until = now() WHERE id = %s",
        jobs[2],
    )
    database.query("UPDATE job SET state = 'dead' WHERE id = %s", jobs[3])
    database.query("""UPDATE job SET message = '{"contract_version": "999.0.0"}' WHERE id = %s""", jobs[4])

    metrics = scrape_exporter(port)
    assert metrics.by("jobs", "task", "queue", "state") == {
        (*ENRICH.values(), "pending"): 2,
        (*ENRICH.values(), "retrying"): 1,
        (*ENRICH.values(), "queued"): 1,
        (*ENRICH.values(), "dead"): 1,
        ("other", "other", "pending"): 1,
    }
    assert metrics.by("dead_letters", "kind") == {("job",): 1}
    assert metrics.by("waiting_jobs_contract", "contract") == {("same",): 4, ("newer",): 1}
    # The age covers published and unpublished due jobs. The lag covers only unpublished ones.
    assert 300 <= metrics.one("oldest_due_job_age_seconds", queue="issues") < 100_000
    assert 100 <= metrics.one("dispatcher_lag_seconds", queue="issues") < 300
    assert metrics.one("oldest_due_job_age_seconds", queue="default") == 0


def test_exporter_reports_no_lag_for_nonempty_queue_or_open_circuit(
    port: int, database: Database, broker: redis.Redis
) -> None:
    job_id = database.add_job(Task.ENRICH_ISSUE)
    database.query("UPDATE job SET run_at = now() - interval '100 s' WHERE id = %s", job_id)
    assert scrape_exporter(port).one("dispatcher_lag_seconds") >= 100

    broker.lpush("issues", "a message")
    assert scrape_exporter(port).one("dispatcher_lag_seconds") == 0, "a queue with messages must not count as lag"
    broker.delete("issues")

    database.query(
        "INSERT INTO circuit (task, provider, failures, last_error, open_until) "
        "VALUES (%s, 'a provider', 5, 'an error', now() + interval '1 h')",
        Task.ENRICH_ISSUE,
    )
    metrics = scrape_exporter(port)
    assert metrics.one("dispatcher_lag_seconds") == 0
    assert metrics.by("circuit_open", "task") == {(Task.ENRICH_ISSUE,): 1}


def test_exporter_with_background_and_limited_jobs_reports_only_their_own_wait(
    port: int, servers: Servers, database: Database, broker: redis.Redis
) -> None:
    """Background jobs, and jobs of projects at their own or the default limit."""
    del broker  # its queue is empty

    def add_job(project: str, priority_class: PriorityClass, state: str, waited_s: int) -> None:
        database.query(
            "INSERT INTO job (id, task, queue, message, project, priority_class, state, run_at, queued_at,"
            " lease_until) VALUES (gen_random_uuid(), 'a.task', 'issues', '{}', %s, %s, %s,"
            " now() - make_interval(secs => %s), now(), now() + %s * interval '1 h')",
            project,
            int(priority_class),
            state,
            waited_s,
            None if state == "pending" else 1,
        )

    add_job("import", PriorityClass.BACKGROUND, "pending", 5000)
    add_job("limited", PriorityClass.HIGH, "pending", 4000)
    add_job("limited", PriorityClass.HIGH, "running", 4000)
    # A published job waits since its publication.
    add_job("limited", PriorityClass.HIGH, "queued", 4000)
    database.query("INSERT INTO project_share (project, running_max) VALUES ('limited', 2)")

    metrics = scrape_exporter(port)
    assert 5000 <= metrics.one("oldest_background_job_age_seconds", queue="issues") < 6000
    assert metrics.one("oldest_due_job_age_seconds", queue="issues") < 1000
    assert metrics.one("dispatcher_lag_seconds", queue="issues") == 0
    with exporter(servers, PROJECT_RUNNING_MAX="2") as limiting_port:
        database.query("TRUNCATE project_share")
        assert scrape_exporter(limiting_port).one("oldest_due_job_age_seconds", queue="issues") < 1000

    # The limit delays background jobs of the project for any time, and its other jobs for hours.
    database.query("INSERT INTO project_share (project, running_max) VALUES ('limited', 2)")
    add_job("limited", PriorityClass.BACKGROUND, "pending", 50_000)
    assert 5000 <= scrape_exporter(port).one("oldest_expected_job_age_seconds", queue="issues") < 6000
    add_job("limited", PriorityClass.HIGH, "pending", 20_000)
    metrics = scrape_exporter(port)
    assert 20_000 <= metrics.one("oldest_expected_job_age_seconds", queue="issues") < 21_000
    assert 5000 <= metrics.one("oldest_background_job_age_seconds", queue="issues") < 6000
    assert metrics.one("oldest_due_job_age_seconds", queue="issues") < 1000
    database.query("DELETE FROM job WHERE run_at < now() - interval '10000 s'; TRUNCATE project_share")

    # Without the limit, the wait is a fault.
    metrics = scrape_exporter(port)
    assert 4000 <= metrics.one("oldest_due_job_age_seconds", queue="issues") < 5000
    assert 4000 <= metrics.one("dispatcher_lag_seconds", queue="issues") < 5000


@pytest.mark.parametrize(("kind", "name"), [("queue", "issues"), ("task", ENRICH["task"]), ("project", "shop")])
def test_exporter_reports_pause_and_no_wait_of_its_jobs(
    kind: str, name: str, port: int, database: Database, broker: redis.Redis
) -> None:
    """A published and an unpublished job."""
    del broker  # its queue is empty
    for state, lease in (("pending", None), ("queued", 1)):
        database.query(
            "INSERT INTO job (id, task, queue, message, project, state, run_at, lease_until) SELECT"
            " gen_random_uuid(), %s, %s, '{}', 'shop', %s, now() - interval '4000 s', now() + %s * interval '1 h'",
            *(*ENRICH.values(), state, lease),
        )
    assert 4000 <= scrape_exporter(port).one("oldest_due_job_age_seconds", queue="issues") < 5000
    database.pause(kind, name)

    metrics = scrape_exporter(port)

    assert metrics.by("paused", "kind", "name") == {(kind, name): 1}
    assert metrics.one("oldest_due_job_age_seconds", queue="issues") == 0
    assert metrics.one("dispatcher_lag_seconds", queue="issues") == 0


def test_exporter_reports_queues_of_broker(port: int, database: Database, broker: redis.Redis) -> None:
    del database
    priorities = ("issues", "issues\x06\x163", "issues\x06\x166", "issues\x06\x169")
    for number, name in enumerate(priorities, 1):
        broker.lpush(name, *("a message",) * number)
    broker.hset("unacked", "tag", "a message")
    broker.config_set("maxmemory", 2**30)
    try:
        metrics = scrape_exporter(port)
    finally:
        broker.config_set("maxmemory", 0)
        broker.delete(*priorities)

    assert metrics.by("queue_messages", "queue") == {("issues",): 10}
    assert metrics.one("queue_unacknowledged") == 1
    assert metrics.one("redis_memory_max_bytes") == 2**30
    assert metrics.one("redis_memory_used_bytes") > 0


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
def test_exporter_without_redis_omits_its_gauges(fault: signal.Signals, port: int, servers: Servers) -> None:
    servers.valkey_process.send_group(fault)
    try:
        # A process may still respond shortly after the signal.
        wait_until(lambda: scrape(port).one("redis_up") == 0, "the exporter to report Redis as down")
        # A query may time out on a busy machine.
        wait_until(lambda: scrape(port).has("jobs"), "the jobs")
        metrics = scrape(port)
        assert metrics.one("redis_up") == 0
        assert not any(
            metrics.has(name) for name in ("queue_messages", "queue_unacknowledged", "redis_memory_used_bytes")
        )
    finally:
        if fault is signal.SIGKILL:
            servers.valkey.stop()
            servers.valkey.start()
        else:
            servers.valkey_process.send_group(signal.SIGCONT)
    wait_until(lambda: scrape(port).one("redis_up") == 1, "the exporter to report Redis as up")


def test_exporter_without_postgresql_omits_its_gauges(port: int, servers: Servers) -> None:
    servers.postgres.stop()
    try:
        wait_until(lambda: scrape(port).has("queue_messages"), "the messages")
        metrics = scrape(port)
        assert metrics.one("database_up") == 0
        assert not any(
            metrics.has(name) for name in ("jobs", "database_size_bytes", "schema_at_head", "dead_letters")
        )
    finally:
        servers.postgres.start()
    wait_until(lambda: scrape(port).one("database_up") == 1, "the exporter to report PostgreSQL as up")


def test_exporter_with_blocked_query_omits_only_its_gauges(
    port: int, servers: Servers, database: Database
) -> None:
    del database
    connection = psycopg2.connect(servers.database_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE dead_message IN ACCESS EXCLUSIVE MODE")
        metrics = scrape_exporter(port)
    finally:
        connection.close()

    assert metrics.one("database_up") == 1
    assert metrics.by("dead_letters", "kind") == {}
    assert metrics.has("jobs")
    assert metrics.has("oldest_due_job_age_seconds")


def test_exporter_with_other_schema_version_reports_schema_not_at_head(port: int, database: Database) -> None:
    head = database.one("SELECT version_num FROM alembic_version")
    database.query("UPDATE alembic_version SET version_num = '0001'")
    try:
        assert scrape_exporter(port).one("schema_at_head") == 0
    finally:
        database.query("UPDATE alembic_version SET version_num = %s", head)
    assert scrape_exporter(port).one("schema_at_head") == 1


def test_exporter_reports_overdue_and_missing_schedules(port: int, database: Database) -> None:
    database.query(
        "INSERT INTO schedule (name, cron, time_zone, next_run_at)"
        " VALUES ('prune', '0 * * * *', 'UTC', now() - interval '1 h')"
    )
    metrics = scrape_exporter(port)
    assert 3600 <= metrics.one("schedule_overdue_seconds", schedule="prune") < 4000
    assert metrics.one("schedule_overdue_seconds", schedule="retrain") == inf

    database.query("UPDATE schedule SET next_run_at = NULL")
    database.query("INSERT INTO schedule (name, cron, time_zone) VALUES ('retrain', '0 * * * *', 'UTC')")
    metrics = scrape_exporter(port)
    assert [metrics.one("schedule_overdue_seconds", schedule=name) for name in ScheduleName] == [0, 0]
