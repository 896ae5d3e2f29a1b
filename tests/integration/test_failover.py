"""Failovers of PostgreSQL: two servers with streaming replication, whose name moves to the promoted standby."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import psycopg2
import pytest

from api.wait_for import check
from contracts.names import Task
from tests.support.database import Database
from tests.support.metrics import exporter, scrape
from tests.support.posters import Answer, Posters
from tests.support.processes import Api, RunningProcess, start_api, start_worker
from tests.support.replication import ReplicatedPostgres
from tests.support.servers import Servers, run_alembic
from tests.support.stream import Listener
from tests.support.tasks import TASK
from tests.support.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.xdist_group("failover")

NOTHING_STORED = "Nothing was stored"
MAY_BE_STORED = "may have been stored"


@dataclass
class System:
    """An API, a worker and an exporter, whose DATABASE_URL has the name of the primary."""

    postgres: ReplicatedPostgres
    api: Api
    worker: RunningProcess
    exporter_port: int

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Yield the current primary. The name may lead to the other server."""
        database = Database(self.postgres.primary.url)
        yield database
        database.close()

    def post_until_stored(self, title: str) -> str:
        """Post an issue, again after a 503, and return its id.

        Another connection of the pool may still lead to the read-only server.
        """
        created: list[httpx.Response] = []

        def is_stored() -> bool:
            created[:] = [self.api.post(title)]
            return created[0].status_code == httpx.codes.CREATED

        wait_until(is_stored, f"{title} to be stored")
        return str(created[0].json()["id"])

    def readiness(self) -> tuple[int, str]:
        response = self.api.client.get("/readyz")
        return response.status_code, response.json()["database"]


@pytest.fixture(scope="module")
def system(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with ExitStack() as stack:
        postgres = ReplicatedPostgres(tmp_path_factory.mktemp("failover"))
        stack.callback(postgres.close)
        migrated = run_alembic(postgres.url, "upgrade", "head")
        assert migrated.returncode == 0, migrated.stdout
        env = {**servers.env, "DATABASE_URL": postgres.url, "RETRY_DELAYS": "0.5,0.5,0.5"}
        port = stack.enter_context(exporter(servers, DATABASE_URL=postgres.url))
        api, worker = start_api(env), start_worker(env, app="tests.support.misbehaving_app")
        stack.callback(api.process.stop, DEADLINE_S)
        stack.callback(worker.process.stop, 8)
        system = System(postgres, api, worker, port)
        with system.database() as database:
            database.query("CREATE TABLE effect (job_id uuid, attempt integer)")
        yield system


def fence_old_primary(postgres: ReplicatedPostgres) -> None:
    """Fail over to the standby. The old primary stays up, with its connections, and accepts no writes."""
    postgres.fence_primary()
    postgres.promote_standby()


def demote_old_primary(postgres: ReplicatedPostgres) -> None:
    """Fail over to the standby. The old primary restarts as the standby of the new one."""
    postgres.primary.stop()
    postgres.promote_standby()
    postgres.demote()


@pytest.mark.parametrize(
    ("fail_over", "clients"), [(fence_old_primary, 1), (fence_old_primary, 16), (demote_old_primary, 16)]
)
def test_failover_with_clients_that_post_loses_no_issue(
    fail_over: Callable[[ReplicatedPostgres], None], clients: int, system: System
) -> None:
    postgres, base_url = system.postgres, str(system.api.client.base_url)
    postgres.make_redundant()
    with system.database() as database:
        database.query("TRUNCATE issue, job, effect CASCADE")
        job_id = database.add_job(TASK, seconds=5)
        wait_until(lambda: database.job(job_id)["state"] == "running", "the job to run")
    posters = Posters(base_url, clients)
    with Listener(system.api, reconnects=True) as listener:
        try:
            wait_until(lambda: posters.count(_is_created) >= 2 * clients, "issues before the failover")
            began = time.monotonic()
            fail_over(postgres)
            wait_until(lambda: system.readiness() == (503, "read-only"), "the API not to be ready")
            wait_until(lambda: scrape(system.exporter_port).one("database_up") == 0, "the exporter")
            assert asyncio.run(check(postgres.url, "database")) == "the database is read-only"
            moved = time.monotonic()
            postgres.move_name()

            def created_since(answer: Answer) -> bool:
                return _is_created(answer) and answer.at > moved

            wait_until(lambda: posters.count(created_since) >= 2 * clients, "issues after the failover")
            # A connection that was opened just before the name moved is replaced when it is 1 s old.
            wait_until(lambda: system.readiness() == (200, "ok"), "the API to be ready")
            wait_until(lambda: scrape(system.exporter_port).one("database_up") == 1, "the exporter")
        finally:
            posters.stop()
        before = len(listener.received)
        last = system.post_until_stored("After the failover")
        # A stream that ends during the failover may resume with `sync`.
        listener.wait_for(
            lambda: last in listener.ids("issue.created") or _has_sync(listener, before),
            "an event of the new primary",
        )

    answers = posters.answers
    first_s = min(answer.at for answer in answers if created_since(answer))
    with system.database() as database:
        accepted = {str(answer.issue_id) for answer in answers if _is_created(answer)} | {last}
        stored = Counter({row["title"]: row["count"] for row in database.query(_TITLES)})
        lost = accepted - {str(row["id"]) for row in database.query("SELECT id FROM issue")}
        print(
            f"\n{fail_over.__name__}, {clients} clients: 201 again {first_s - moved:.2f} s after the name moved, "
            f"{first_s - began:.2f} s after the failover began; {len(accepted)} issues accepted, "
            f"{len(lost)} lost; responses {dict(Counter(answer.status for answer in answers))}"
        )
        assert lost == set()
        assert max(stored.values()) == 1
        rejected = [answer for answer in answers if not _is_created(answer)]
        assert {answer.status for answer in rejected} <= {503}
        assert not [answer for answer in rejected if NOTHING_STORED in answer.detail and answer.title in stored]
        wait_until(lambda: _unfinished(database) == 0, "all jobs to end")
        assert database.query("SELECT state, count(*) FROM job WHERE state <> 'succeeded' GROUP BY 1") == []
        assert database.one("SELECT count(*) FROM enrichment") == sum(stored.values())
        assert database.query("SELECT attempt FROM effect WHERE job_id = %s", job_id) == [{"attempt": 1}]
    assert system.worker.process.exit_code is None


def test_failover_from_frozen_primary_leaves_api_usable(system: System) -> None:
    """A server that is lost without a trace shows only as a timeout of 10 seconds."""
    postgres = system.postgres
    postgres.make_redundant()
    old = postgres.primary.process
    assert old is not None
    postgres.promote_standby()
    old.send_group(signal.SIGSTOP)
    try:
        postgres.move_name()
        began = time.monotonic()
        first = system.api.post("To the frozen server")
        wait_until(lambda: system.api.post("To the new primary").status_code == 201, "a response 201")
        print(f"\nfrozen primary: 201 again after {time.monotonic() - began:.1f} s")
    finally:
        old.send_group(signal.SIGCONT)

    assert first.status_code == 201 or MAY_BE_STORED in first.json()["detail"]


def test_stream_after_failover_that_lost_transactions_begins_with_sync(system: System) -> None:
    """The new primary assigns the transaction ids that it lost again."""
    postgres = system.postgres
    postgres.make_redundant()
    postgres.standby.stop()
    postgres.primary.query("ALTER SYSTEM SET synchronous_standby_names = ''")
    postgres.primary.query("SELECT pg_reload_conf()")
    with Listener(system.api, reconnects=True) as listener:
        lost = system.api.post("Only on the old primary").json()["id"]
        listener.wait_for(lambda: lost in listener.ids("issue.created"), "the event that will be lost")
        before = len(listener.received)
        postgres.primary.stop()
        postgres.standby.start()
        postgres.promote_standby()
        postgres.primary.query("ALTER SYSTEM SET synchronous_standby_names = ''")
        postgres.primary.query("SELECT pg_reload_conf()")
        with system.database() as database:
            for _ in range(200):
                database.query("INSERT INTO issue (id, title) VALUES (gen_random_uuid(), 'Before the name moves')")
        postgres.move_name()
        listener.wait_for(lambda: _has_sync(listener, before), "sync, because events are missing")
        last = system.post_until_stored("After the failover")
        listener.wait_for(lambda: last in listener.ids("issue.created"), "an event of the new primary")


def _has_sync(listener: Listener, after: int) -> bool:
    return any(event.kind == "sync" for event in listener.received[after:])


_TITLES = "SELECT title, count(*) FROM issue GROUP BY title"


def _is_created(answer: Answer) -> bool:
    return answer.status == httpx.codes.CREATED


def _unfinished(database: Database) -> int:
    found: int = database.one("SELECT count(*) FROM job WHERE state NOT IN ('succeeded', 'dead')")
    return found


@contextmanager
def answer_lost_after_commit(system: System, table: str) -> Iterator[Database]:
    """Cut the connections after the commit of an insert that the body has requested, before its response."""
    with system.database() as database, ThreadPoolExecutor(1):
        # A deferred constraint trigger runs at COMMIT, and waits there for a lock.
        database.query(f"""
            CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON {table}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()
        """)
        lock_connection = psycopg2.connect(system.postgres.primary.url)
        try:
            lock_connection.cursor().execute("SELECT pg_advisory_lock(4711)")
            yield database
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
            wait_until(lambda: database.one(waiting) == 1, "the commit to wait")
            system.postgres.name.withhold_answers()
            before = database.one(f"SELECT count(*) FROM {table}")
            lock_connection.close()
            wait_until(lambda: database.one(f"SELECT count(*) FROM {table}") > before, "the commit")
        finally:
            lock_connection.close()
            system.postgres.name.cut()
            database.query(f"DROP TRIGGER wait_at_commit ON {table}; DROP FUNCTION wait_at_commit()")


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_issue_whose_response_is_lost_after_commit_is_stored_once(
    system: System, clients: ThreadPoolExecutor
) -> None:
    with answer_lost_after_commit(system, "issue") as database:
        posting = clients.submit(system.api.post, "Committed, response lost")
    response = posting.result(DEADLINE_S)

    assert response.status_code == 201
    with system.database() as database:
        stored = database.query("SELECT id::text FROM issue WHERE title = 'Committed, response lost'")
    assert stored == [{"id": response.json()["id"]}]


def test_request_with_key_whose_response_is_lost_after_commit_has_one_effect(
    system: System, clients: ThreadPoolExecutor
) -> None:
    body = {"title": "Posted with a key"}
    with answer_lost_after_commit(system, "issue") as database:
        posting = clients.submit(
            system.api.client.post, "/api/v1/issues", json=body, headers={"Idempotency-Key": "lost"}
        )
    response = posting.result(DEADLINE_S)

    assert response.status_code == 201
    with system.database() as database:
        stored = database.query("SELECT id::text FROM issue WHERE title = 'Posted with a key'")
    assert stored == [{"id": response.json()["id"]}]


def test_other_request_whose_response_is_lost_after_commit_is_not_repeated(
    system: System, clients: ThreadPoolExecutor
) -> None:
    with answer_lost_after_commit(system, "webhook") as database:
        posting = clients.submit(
            system.api.client.post,
            "/api/v1/webhooks",
            json={"url": "https://hooks.example.org/lost", "events": ["issue.created"]},
        )
    response = posting.result(DEADLINE_S)

    assert response.status_code == 503
    assert MAY_BE_STORED in response.json()["detail"]
    with system.database() as database:
        assert database.one("SELECT count(*) FROM webhook") == 1
        database.query("DELETE FROM webhook")


@pytest.mark.parametrize("fault", ["terminated", "cut"])
def test_change_interrupted_before_its_commit_is_repeated(
    fault: str, system: System, clients: ThreadPoolExecutor
) -> None:
    issue_id = system.api.post("Changed during a failover").json()["id"]
    with system.database() as database:
        wait_until(lambda: _unfinished(database) == 0, "its enrichment")
        blocker = psycopg2.connect(system.postgres.primary.url)
        try:
            blocker.cursor().execute("SELECT FROM issue WHERE id = %s FOR UPDATE", [issue_id])
            changing = clients.submit(
                system.api.client.patch,
                f"/api/v1/issues/{issue_id}",
                content=json.dumps({"priority": "high"}),
                headers={"Content-Type": "application/merge-patch+json"},
            )
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(lambda: database.one(waiting) == 1, "the change to wait")
            if fault == "cut":
                system.postgres.name.cut()
            else:
                database.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                )
        finally:
            blocker.close()
        response = changing.result(DEADLINE_S)

        assert response.status_code == 200, response.text
        assert response.json()["priority"] == "high"
        changes = "SELECT count(*) FROM audit_log WHERE action = 'issue.changed' AND subject = %s"
        assert database.one(changes, issue_id) == 1
        assert database.one("SELECT count(*) FROM job WHERE task = %s", Task.ENRICH_ISSUE) >= 1
