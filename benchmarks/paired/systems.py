"""The systems under test: how each is started, given a backlog, and asked how far it is."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from benchmarks.paired.processes import Started, running, start
from benchmarks.paired.servers import Servers, drop_output, migrate
from benchmarks.paired.sql import NEW_ID, query
from devstack.network import free_port, wait_until
from devstack.postgres import EXTENSIONS
from devstack.process import Process
from tests.support.processes import API, ROOT, WORKER, tool

START_TIMEOUT_S = 180
WORKER_OPTIONS = ("worker", "--loglevel=info", "--without-mingle", "--without-gossip")

_OUR_BACKLOG = """
WITH new AS (
    INSERT INTO issue (id, title, description)
    SELECT {new_id}, 'Issue ' || n, 'It does nothing.' FROM generate_series(1, {count}) n RETURNING id
), ids AS (SELECT {new_id} AS job_id, id AS issue_id FROM new)
INSERT INTO job (id, task, queue, message, issue_id)
SELECT job_id, 'app.tasks.issues.enrich_issue', 'issues',
    jsonb_build_object('contract_version', '1.0.0', 'job_id', job_id, 'issue_id', issue_id), issue_id FROM ids
"""
_NAIVE_BACKLOG = """
INSERT INTO issue (id, title, description, priority, status, tags)
SELECT gen_random_uuid(), 'Issue ' || n, 'It does nothing.', 'medium', 'open', ''
FROM generate_series(1, {count}) n
"""


@dataclass(frozen=True, eq=False)
class System:
    """An API and a worker on a database of their own; the module `feed` hands over what SQL has inserted."""

    name: str
    env: Mapping[str, str]
    api: tuple[str, Path]
    worker: tuple[str, Path, tuple[str, ...]] = ("", ROOT, ())
    tables: str = "issue"
    backlog: str = ""
    feed: str | None = None
    undispatched: str = "SELECT false"
    finished: str = "SELECT count(*) FROM issue WHERE ai_summary IS NOT NULL"
    twice: str | None = None

    @contextmanager
    def running_api(self, **env: str) -> Iterator[tuple[Started, int]]:
        """Run one API process; give it and its port."""
        app, directory = self.api
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", app, "--port", str(port)]
        with running(start(f"{self.name}'s API", command, directory, {**self.env, **env})) as started:
            wait_until(lambda: _answers(started, port), START_TIMEOUT_S, f"{self.name}'s API")
            yield started, port

    @contextmanager
    def running_worker(self, **env: str) -> Iterator[Started]:
        """Run a worker."""
        with running(self.start_worker(**env)) as started:
            wait_until(lambda: _ready(started), START_TIMEOUT_S, f"{self.name}'s worker")
            yield started

    def start_worker(self, **env: str) -> Started:
        """Start a worker, whoever stops it; it has one process unless `WORKER_CONCURRENCY` says otherwise."""
        app, directory, options = self.worker
        processes = env.get("WORKER_CONCURRENCY", "1")
        command = [tool("celery"), "-A", app, *WORKER_OPTIONS, "--concurrency", processes, *options]
        return start(f"{self.name}'s worker", command, directory, {"PYTHONPATH": str(ROOT), **self.env, **env})

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Run one statement on its database; return what it answers."""
        return query(self.env["DATABASE_URL"], sql)

    def done(self) -> int:
        """Return how many issues have been enriched."""
        return int(str(self.query(self.finished)[0][0]))

    def doubled(self) -> int | None:
        """Return how many issues have been enriched twice; None where nothing counts that."""
        return None if self.twice is None else int(str(self.query(self.twice)[0][0]))

    def hand_over(self, count: int) -> None:
        """Make a backlog of so many issues."""
        if count:
            self.query(self.backlog.format(count=count, new_id=NEW_ID))
        if self.feed is not None:
            code = Process("feed", [sys.executable, "-m", self.feed], drop_output, cwd=ROOT, env=self.env).wait()
            assert code == 0, self.feed

    def forget(self, servers: Servers) -> None:
        """Empty its tables and the broker."""
        self.query(f"TRUNCATE {self.tables} CASCADE")
        servers.flush()


def prepared(servers: Servers, name: str) -> System:
    """Return this product on a database that is there; its worker enriches in no time."""
    return System(
        name,
        {**servers.env(name), "LOG_FORMAT": "json"},
        ("main:app", API),
        # As on Kubernetes: a worker for each queue. The index is more than the twin has.
        ("benchmarks.instant_app", WORKER, ("--queues", "issues")),
        tables="issue, job, event",
        backlog=_OUR_BACKLOG,
        twice="SELECT count(*) - count(DISTINCT issue_id) FROM enrichment",
        undispatched="SELECT EXISTS (SELECT FROM job WHERE state = 'pending')",
    )


def prepare(servers: Servers) -> tuple[System, System, System]:
    """Make the databases; return this product, the naive twin, and the bare endpoint."""
    servers.create("ours", EXTENSIONS)
    servers.create("naive")
    servers.create("bare")
    ours = prepared(servers, "ours")
    migrate(ours.env)
    naive = System(
        "naive",
        servers.env("naive"),
        ("benchmarks.naive.api:app", ROOT),
        ("benchmarks.naive.worker", ROOT, ()),
        backlog=_NAIVE_BACKLOG,
        feed="benchmarks.naive.feed",
    )
    naive.hand_over(0)
    return ours, naive, System("bare", servers.env("bare"), ("benchmarks.bare:app", ROOT))


def asynchronous(naive: System) -> System:
    """Return the twin with the other usual way to write its endpoint."""
    return replace(naive, name="naive, async", api=("benchmarks.naive.api_async:app", ROOT))


def _answers(started: Started, port: int) -> bool:
    started.check()
    try:
        return httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
    except httpx.TransportError:
        return False


def _ready(started: Started) -> bool:
    started.check()
    return started.tail.is_ready
