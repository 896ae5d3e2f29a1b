"""`issuetracker doctor` reports each fault. The module uses its own servers and causes real faults."""

import json
import re
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2.extras
import pytest
import redis

from contracts import CONTRACT_VERSION
from contracts.ids import new_id
from contracts.messages import WorkerHeartbeat
from contracts.names import HEARTBEAT_KEY_PREFIX, HEARTBEAT_KEY_SECONDS
from issuetracker_cli.doctor import Finding, examine, exit_code
from tests.support.cli import run_cli
from tests.support.database import Database
from tests.support.ports import free_port
from tests.support.processes import Api, RunningProcess, start_api, start_worker
from tests.support.servers import Servers, migrate, start_servers
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.xdist_group("doctor")


@dataclass
class Product:
    servers: Servers
    api: Api
    worker: RunningProcess
    database: Database

    def doctor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return doctor(str(self.api.client.base_url), *arguments)

    def findings(self, **reported: bool) -> list[Finding]:
        """Return the findings of the command without starting it, with these values in the API's report."""
        return examine({**self.api.client.get("/api/v1/diagnosis").json(), **reported})

    def next_steps(self, **reported: bool) -> dict[str, str | None]:
        """Return the next step of each check that fails."""
        return {item.name: item.next_step for item in self.findings(**reported) if item.status == "wrong"}

    def expect(self, code: int, *wrong_checks: str, effects: Collection[str] = ()) -> dict[str, Finding]:
        """Wait until exactly these checks fail, and return all findings that are not ok.

        The checks `effects` may fail too, if the fault lasts.
        """
        seen: list[Finding] = []

        def is_expected() -> bool:
            seen[:] = self.findings()
            wrong = {item.name for item in seen if item.status == "wrong"}
            return exit_code(seen) == code and wrong - set(effects) == set(wrong_checks)

        wait_until(is_expected, lambda: f"{code} {wrong_checks}, seen {seen}")
        return {item.name: item for item in seen if item.status != "ok"}

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        with redis.Redis(port=self.servers.redis_port) as client:
            yield client


def doctor(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_cli(url, "doctor", *arguments)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    servers = start_servers(tmp_path_factory.mktemp("doctor"))
    migrate(servers)
    settings = {**servers.env, "DISPATCH_POLL_SECONDS": "0.2", "LEASE_SECONDS": "3"}
    api, worker, database = start_api(settings), start_worker(settings), Database(servers.database_url)
    yield Product(servers, api, worker, database)
    database.close()
    for program in (worker, api):
        program.process.stop(60)
    servers.close()


def test_doctor_with_healthy_system_reports_no_fault(product: Product) -> None:
    product.expect(0)
    done = product.doctor()

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "no problems"
    assert "issues: 1 worker, 0 messages, default: 1 worker, 0 messages" in done.stdout
    assert f"API {CONTRACT_VERSION}, workers {CONTRACT_VERSION}, waiting jobs none" in done.stdout


def test_doctor_with_stopped_redis_reports_redis(product: Product) -> None:
    product.servers.valkey.stop()
    try:
        found = product.expect(12, "redis")
        during = product.doctor("--json")
        assert during.returncode == 12
        assert [item["name"] for item in json.loads(during.stdout) if item["status"] == "wrong"] == ["redis"]
        assert "refused" in found["redis"].message or "Connection" in found["redis"].message
        assert found["redis"].next_step == "`docker compose up --wait redis`; docs/runbooks/RedisDown.md"
        # One fault: checks that need Redis are unknown, and the other checks still run.
        assert {name for name in found if found[name].status == "unknown"} == {
            *("redis settings", "consumers", "contracts")
        }
    finally:
        product.servers.valkey.start()
    product.expect(0)


def test_doctor_with_stopped_postgres_reports_database(product: Product) -> None:
    product.servers.postgres.stop()
    try:
        found = product.expect(10, "database")
        assert set(found) - {"database"} == {"schema", "oldest job", "dead letters", "contracts", "schedules"}
        (step,) = product.next_steps(is_in_kubernetes=True).values()
        assert step == "`kubectl describe pod postgres-0`; docs/runbooks/DatabaseDown.md"
    finally:
        product.servers.postgres.start()
    product.expect(0)


def test_doctor_in_kubernetes_names_kubectl(product: Product) -> None:
    in_cluster = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    api = start_api({**product.servers.env, "DISPATCH_POLL_SECONDS": "3600", **in_cluster})
    product.servers.valkey.stop()
    try:
        wait_until(lambda: "redis" in product.next_steps(), "the outage")
        done = doctor(str(api.client.base_url))
    finally:
        product.servers.valkey.start()
        api.process.stop(60)
    assert done.returncode == 12
    assert "next: `kubectl describe pod redis-0`; docs/runbooks/RedisDown.md" in done.stdout
    assert "docker" not in done.stdout
    product.expect(0)


def test_doctor_with_read_only_postgres_reports_database(product: Product) -> None:
    with product.servers.superuser() as cursor:
        cursor.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        cursor.execute("SELECT pg_reload_conf()")
        try:
            found = product.expect(10, "database")
            assert "default_transaction_read_only is on" in found["database"].message
        finally:
            cursor.execute("ALTER SYSTEM RESET default_transaction_read_only")
            cursor.execute("SELECT pg_reload_conf()")
    product.expect(0)


def test_doctor_with_unsafe_redis_settings_reports_them(product: Product) -> None:
    with product.redis() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        try:
            message = product.expect(13, "redis settings")["redis settings"].message
            assert "maxmemory-policy is allkeys-lru" in message
            assert "appendonly is no" in message
            (step,) = product.next_steps(is_in_kubernetes=True).values()
            assert "deploy/k8s/base/redis.yaml" in str(step)
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("appendonly", "yes")
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 2**16)
            assert "MiB used" in product.expect(13, "redis settings")["redis settings"].message
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("appendonly", "yes")
            client.config_set("maxmemory-policy", "noeviction")
    product.expect(0)


def test_doctor_with_redis_replica_reports_redis(product: Product) -> None:
    with product.redis() as client:
        client.replicaof("127.0.0.1", free_port())
        try:
            assert "replica" in product.expect(12, "redis", effects=("consumers",))["redis"].message
        finally:
            client.replicaof("NO", "ONE")
    product.expect(0)


def test_doctor_with_other_schema_version_reports_schema(product: Product) -> None:
    head = product.database.one("SELECT version_num FROM alembic_version")
    product.database.query("UPDATE alembic_version SET version_num = '0002'")
    try:
        assert f"at 0002; this version requires {head}" in product.expect(11, "schema")["schema"].message
        (step,) = product.next_steps(is_in_kubernetes=True).values()
        assert str(step).startswith("`kubectl logs --selector app.kubernetes.io/name=migrate`; ")
        product.database.query("ALTER TABLE alembic_version RENAME TO elsewhere")
        assert "not migrated" in product.expect(11, "schema")["schema"].message
        product.database.query("ALTER TABLE elsewhere RENAME TO alembic_version")
        product.database.query("UPDATE alembic_version SET version_num = '9999'")
        product.expect(0)
        assert "at 9999, newer than" in product.doctor().stdout
    finally:
        product.database.query("UPDATE alembic_version SET version_num = %s", head)


def test_doctor_with_dead_letters_and_old_jobs_reports_both(product: Product) -> None:
    # The dispatcher publishes no job of an open circuit breaker, if the breaker is there first.
    product.database.query(
        "INSERT INTO circuit (task, provider, failures, last_error, open_until) "
        "VALUES ('a.task.of.another.provider', 'p', 5, 'refused', now() + interval '1 hour')"
    )
    product.database.query(
        "INSERT INTO job (id, task, queue, message, state, run_at)"
        """ SELECT gen_random_uuid(), task, 'issues', '{"contract_version": "1.1.0"}',"""
        " state, now() - interval '1 h'"
        " FROM (VALUES ('a.task.of.another.provider', 'pending'), ('app.tasks.issues.enrich_issue', 'dead'))"
        " AS job (task, state)"
    )
    try:
        found = product.expect(15, "oldest job", "dead letters")

        assert "waiting for a provider: a.task.of.another.provider" in found["oldest job"].message
        assert re.search(r"the oldest has waited for 3[6-9]\d\d s", found["oldest job"].message)
        assert found["dead letters"].message == "1 job and 0 messages await a decision"
        product.database.query("DELETE FROM job WHERE state = 'pending'")
        product.database.query("TRUNCATE circuit")
        product.expect(16, "dead letters")
    finally:
        product.database.query("TRUNCATE job, circuit CASCADE")


def test_doctor_with_waiting_background_and_limited_jobs_reports_no_fault(product: Product) -> None:
    share = {"project": "limited", "running_max": 1}
    product.api.client.put("/api/v1/queues/projects", json=share).raise_for_status()
    # The dispatcher does not publish jobs of an open circuit breaker, so they wait.
    product.database.query(
        "INSERT INTO circuit (task, provider, failures, last_error, open_until)"
        " VALUES ('a.task', 'p', 5, 'refused', now() + interval '1 hour')"
    )
    product.database.query(
        "INSERT INTO job (id, task, queue, message, project, priority_class, state, run_at, lease_until)"
        """ SELECT gen_random_uuid(), 'a.task', 'issues', '{"contract_version": "1.1.0"}', project, class,"""
        " state, now() - interval '1 h', until"
        " FROM (VALUES ('import', 4, 'pending', NULL), ('limited', 1, 'pending', NULL),"
        " ('limited', 1, 'running', now() + interval '1 h')) AS job (project, class, state, until)"
    )
    try:
        product.expect(0)
        product.database.query("UPDATE project_share SET running_max = 2")
        product.expect(15, "oldest job")
    finally:
        product.database.query("TRUNCATE job, project_share, circuit CASCADE")
    product.expect(0)


def test_doctor_with_paused_jobs_reports_pause_and_no_fault(product: Product) -> None:
    product.api.client.put("/api/v1/pauses/queue/issues").raise_for_status()
    product.database.add_job("a.task")
    product.database.query("UPDATE job SET run_at = now() - interval '1 h'")
    try:
        product.expect(0)
        message = {item.name: item.message for item in product.findings()}["oldest job"]
    finally:
        product.database.query("TRUNCATE job, pause CASCADE")

    assert message == "1 pending; paused: queue issues"
    product.expect(0)


def test_doctor_with_overdue_schedule_reports_it(product: Product) -> None:
    # No dispatcher can compute the next run in this time zone.
    product.database.query(
        "UPDATE schedule SET time_zone = 'Atlantis/Capital', next_run_at = now() - interval '2 min'"
        " WHERE name = 'prune'"
    )
    try:
        found = product.expect(20, "schedules")
    finally:
        product.database.query("UPDATE schedule SET time_zone = 'UTC', next_run_at = NULL")

    assert found["schedules"].message.startswith("prune is overdue by 1")
    product.expect(0)


def test_doctor_with_missing_schedule_reports_it_until_it_is_set(product: Product) -> None:
    product.database.query("DELETE FROM schedule WHERE name = 'prune'")
    found = product.expect(20, "schedules")
    restored = {"cron": "0 * * * *", "enabled": False}
    assert product.api.client.put("/api/v1/schedules/prune", json=restored).status_code == 200

    assert found["schedules"].message == "prune is missing and never runs"
    assert found["schedules"].next_step == "docs/runbooks/ScheduleOverdue.md"
    product.expect(0)


def test_doctor_with_different_clocks_and_contracts_reports_both(product: Product) -> None:
    """A worker with an older contract and a clock that is one hour behind."""
    with product.redis() as client:
        seconds, _ = client.time()
        heartbeat = WorkerHeartbeat.model_validate(
            {
                "contract_version": "0.9.0",
                "worker": "older@elsewhere",
                "queues": ["issues"],
                "processes": 2,
                "at": seconds - 3600,
            }
        )
        client.set(
            f"{HEARTBEAT_KEY_PREFIX}{heartbeat.worker}", heartbeat.model_dump_json(), ex=HEARTBEAT_KEY_SECONDS
        )
        findings = product.findings()
        client.delete(f"{HEARTBEAT_KEY_PREFIX}{heartbeat.worker}")

    assert exit_code(findings) == 17
    found = {item.name: item for item in findings}
    assert "older@elsewhere is -36" in found["clocks"].message
    assert "workers 0.9.0, " in found["contracts"].message
    assert found["contracts"].exit_code == 18


def test_doctor_with_unconsumed_queue_reports_consumers(product: Product) -> None:
    product.worker.process.stop(DEADLINE_S)
    product.database.query(
        "INSERT INTO job (id, task, queue, message) VALUES (%s, 'any', 'default', %s)",
        new_id(),
        psycopg2.extras.Json({"contract_version": CONTRACT_VERSION}),
    )
    with product.redis() as client:
        wait_until(lambda: client.llen("default") == 1, "the message")

    message = product.expect(14, "consumers")["consumers"].message

    assert message == "issues: 0 workers, 0 messages, default: 0 workers, 1 message"
    (step,) = product.next_steps(is_in_kubernetes=True).values()
    assert "`kubectl describe pods --selector app.kubernetes.io/name=worker`" in str(step)


def test_doctor_with_stopped_api_exits_with_3() -> None:
    done = doctor(f"http://127.0.0.1:{free_port()}")

    assert done.returncode == 3
    assert done.stdout == ""
    error, next_step = done.stderr.splitlines()
    assert error.startswith("issuetracker: Cannot reach")
    assert next_step.startswith("next: check that the API runs:")
    assert "`kubectl get pods`" in next_step
