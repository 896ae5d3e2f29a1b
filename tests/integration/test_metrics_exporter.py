"""The exporter: what ledger and broker hold, and nothing of a server that is away."""

import signal
from collections.abc import Iterator

import psycopg2
import pytest
import redis

from contracts.names import QUEUE_OF, Task
from devstack.network import wait_until
from tests.support.database import Database
from tests.support.metrics import exporter, scrape
from tests.support.servers import Servers

ENRICH = {"task": Task.ENRICH_ISSUE.value, "queue": QUEUE_OF[Task.ENRICH_ISSUE].value}


@pytest.fixture(scope="module")
def port(servers: Servers) -> Iterator[int]:
    with exporter(servers, QUEUE_BOUND="10") as found:
        yield found


def test_what_the_ledger_holds(port: int, database: Database, broker: redis.Redis) -> None:
    told = scrape(port)
    assert told.by("jobs", "task") == {}
    assert told.has("jobs"), "each at 0"
    assert told.one("schema_at_head") == told.one("database_up") == 1
    assert told.one("database_size_bytes") > 0

    jobs = [database.add_job(Task.ENRICH_ISSUE) for _ in range(5)]
    database.add_job("somebody's own", "made up")
    database.query("UPDATE job SET run_at = now() - interval '100 s' WHERE id = %s", jobs[0])
    database.query("UPDATE job SET state = 'retrying', run_at = now() + interval '1 h' WHERE id = %s", jobs[1])
    database.query(
        "UPDATE job SET state = 'queued', run_at = now() - interval '300 s', lease_until = now() WHERE id = %s",
        jobs[2],
    )
    database.query("UPDATE job SET state = 'dead' WHERE id = %s", jobs[3])
    database.query("""UPDATE job SET message = '{"contract_version": "999.0.0"}' WHERE id = %s""", jobs[4])

    told = scrape(port)
    assert told.by("jobs", "task", "queue", "state") == {
        (*ENRICH.values(), "pending"): 2,
        (*ENRICH.values(), "retrying"): 1,
        (*ENRICH.values(), "queued"): 1,
        (*ENRICH.values(), "dead"): 1,
        ("other", "other", "pending"): 1,
    }
    assert told.by("dead_letters", "kind") == {("job",): 1}
    assert told.by("waiting_jobs_contract", "contract") == {("same",): 4, ("newer",): 1}
    # Due and not begun: published or not. What is published is no lag.
    assert 300 <= told.one("oldest_due_job_age_seconds", queue="issues") < 100_000
    assert 100 <= told.one("dispatcher_lag_seconds", queue="issues") < 300
    assert told.one("oldest_due_job_age_seconds", queue="default") == 0


def test_no_lag_where_jobs_wait_rightly(port: int, database: Database, broker: redis.Redis) -> None:
    job_id = database.add_job(Task.ENRICH_ISSUE)
    database.query("UPDATE job SET run_at = now() - interval '100 s' WHERE id = %s", job_id)
    assert scrape(port).one("dispatcher_lag_seconds") >= 100

    broker.lpush("issues", *("a message",) * 5)
    assert scrape(port).one("dispatcher_lag_seconds") == 0, "half of the bound is used"
    broker.delete("issues")

    database.query(
        "INSERT INTO circuit (task, provider, failures, last_error, open_until) "
        "VALUES (%s, 'a provider', 5, 'an error', now() + interval '1 h')",
        Task.ENRICH_ISSUE,
    )
    told = scrape(port)
    assert told.one("dispatcher_lag_seconds") == 0
    assert told.by("circuit_open", "task") == {(Task.ENRICH_ISSUE,): 1}


def test_what_the_broker_holds(port: int, database: Database, broker: redis.Redis) -> None:
    del database
    priorities = ("issues", "issues\x06\x163", "issues\x06\x166", "issues\x06\x169")
    for number, name in enumerate(priorities, 1):
        broker.lpush(name, *("a message",) * number)
    broker.hset("unacked", "tag", "a message")
    broker.config_set("maxmemory", 2**30)
    try:
        told = scrape(port)
    finally:
        broker.config_set("maxmemory", 0)
        broker.delete(*priorities)

    assert told.by("queue_messages", "queue") == {("issues",): 10}
    assert told.one("queue_unacknowledged") == 1
    assert told.one("redis_memory_max_bytes") == 2**30
    assert told.one("redis_memory_used_bytes") > 0


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
def test_without_redis_its_gauges_vanish(fault: signal.Signals, port: int, servers: Servers) -> None:
    servers.valkey_process.send_group(fault)
    try:
        # A process that is killed may answer once more.
        wait_until(lambda: scrape(port).one("redis_up") == 0, 30, "Redis to be missed")
        told = scrape(port)
        assert told.one("database_up") == 1
        assert told.has("jobs")
        assert not any(
            told.has(name) for name in ("queue_messages", "queue_unacknowledged", "redis_memory_used_bytes")
        )
    finally:
        if fault is signal.SIGKILL:
            servers.valkey.stop()
            servers.valkey.start()
        servers.valkey_process.send_group(signal.SIGCONT)
    wait_until(lambda: scrape(port).one("redis_up") == 1, 30, "Redis")


def test_without_postgresql_its_gauges_vanish(port: int, servers: Servers) -> None:
    servers.postgres.stop()
    try:
        told = scrape(port)
        assert told.one("database_up") == 0
        assert told.one("redis_up") == 1
        assert told.has("queue_messages")
        assert not any(
            told.has(name) for name in ("jobs", "database_size_bytes", "schema_at_head", "dead_letters")
        )
    finally:
        servers.postgres.start()
    wait_until(lambda: scrape(port).one("database_up") == 1, 30, "PostgreSQL")


def test_a_question_that_takes_too_long_costs_only_its_own_gauges(
    port: int, servers: Servers, database: Database
) -> None:
    del database
    connection = psycopg2.connect(servers.database_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE dead_message IN ACCESS EXCLUSIVE MODE")
        told = scrape(port)
    finally:
        connection.close()

    assert told.one("database_up") == 1
    assert told.by("dead_letters", "kind") == {}
    assert told.has("jobs")
    assert told.has("oldest_due_job_age_seconds")


def test_a_schema_of_another_version(port: int, database: Database) -> None:
    head = database.one("SELECT version_num FROM alembic_version")
    database.query("UPDATE alembic_version SET version_num = '0001'")
    try:
        assert scrape(port).one("schema_at_head") == 0
    finally:
        database.query("UPDATE alembic_version SET version_num = %s", head)
    assert scrape(port).one("schema_at_head") == 1
