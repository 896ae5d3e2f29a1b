"""The systems under test: how to start each, give it a backlog, and count what it has done."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import httpx
import redis

from benchmarks.processes import Started, cpu_s, running, start
from devstack.network import free_port, wait_until
from devstack.process import Process
from tests.support.database import Database
from tests.support.processes import API, ROOT, WORKER, tool
from tests.support.servers import Servers, start_local_servers

START_TIMEOUT_S = 180
PEERS = ("dramatiq", "huey", "pgqueuer")
PEERS_PYTHON = str(ROOT / ".venv/bench/bin/python")
NEW_ID = """encode(set_bit(set_bit(overlay(
    uuid_send(gen_random_uuid())
    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
), 52, 1), 53, 1), 'hex')::uuid"""
"""A UUIDv7, as the product creates its ids: new rows are at the end of an index, unlike random ones."""

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
_PEER_TABLE = """
CREATE TABLE item (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL, ai_summary text, tags text,
    runs integer NOT NULL DEFAULT 0
)
"""


@dataclass(frozen=True, eq=False)
class System:
    """A worker (and, unless it is a peer, an API) on servers of its own.

    `backlog` is SQL that inserts `{count}` rows, `feed` a command that queues a job for each. `finished` counts
    the jobs that are done, `twice` those that were done twice; None if that is not counted.
    """

    name: str
    servers: Servers
    worker: Sequence[str] = ()
    worker_directory: Path = ROOT
    api: str = ""
    api_directory: Path = ROOT
    tables: str = "issue"
    backlog: str = "SELECT {count}"
    feed: Sequence[str] = ()
    undispatched: str = "SELECT false"
    finished: str = "SELECT count(*) FROM issue WHERE ai_summary IS NOT NULL"
    twice: str | None = None

    @cached_property
    def database(self) -> Database:
        """A connection to its database."""
        return Database(self.servers.database_url)

    @contextmanager
    def running_api(self, **env: str) -> Iterator[tuple[Started, int]]:
        """Run one API process; yield it and its port."""
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", self.api, "--port", str(port)]
        env = {**self.servers.env, **env}
        with running(start(f"{self.name}'s API", command, self.api_directory, env)) as started:
            wait_until(lambda: _responds(started, port), START_TIMEOUT_S, f"{self.name}'s API")
            yield started, port

    @contextmanager
    def running_worker(self, processes: int = 1) -> Iterator[Started]:
        """Run a worker. A peer ignores `processes`."""
        with running(self.start_worker(processes)) as started:
            if self.api:
                wait_until(lambda: _is_ready(started), START_TIMEOUT_S, f"{self.name}'s worker")
            yield started

    def start_worker(self, processes: int = 1, **env: str) -> Started:
        """Start a worker and return at once."""
        options = ("--concurrency", str(processes)) if self.api else ()
        env = {"PYTHONPATH": str(ROOT), **self.servers.env, **env}
        return start(f"{self.name}'s worker", [*self.worker, *options], self.worker_directory, env)

    def postgres_cpu_s(self) -> float:
        """Return the CPU seconds of its PostgreSQL."""
        process = self.servers.postgres_process
        assert isinstance(process, Process)
        return cpu_s(process.pid)

    def done(self) -> int:
        """Return how many jobs are done."""
        return int(self.database.one(self.finished))

    def add_backlog(self, count: int) -> None:
        """Create a backlog of `count` jobs."""
        self.database.query(self.backlog.format(count=count, new_id=NEW_ID))
        if self.feed:
            run([*self.feed, str(count)], self.servers.env)

    def clear(self) -> None:
        """Empty its tables and the broker."""
        self.database.query(f"TRUNCATE {self.tables} CASCADE")
        with redis.Redis(port=self.servers.redis_port) as client:
            client.flushall()


def create_ours(stack: ExitStack, options: Sequence[str] = ()) -> System:
    """Return this product. The worker's enricher takes no time."""
    servers = stack.enter_context(durable_servers(options))
    run([tool("alembic"), "upgrade", "head"], servers.env, API)
    return System(
        "ours",
        servers,
        # One worker per queue, as in production. The other systems have no index.
        worker=(*_celery("benchmarks.instant_app"), "--queues", "issues"),
        worker_directory=WORKER,
        api="main:app",
        api_directory=API,
        tables="issue, job, event",
        backlog=_OUR_BACKLOG,
        twice="SELECT count(*) - count(DISTINCT issue_id) FROM enrichment",
        undispatched="SELECT EXISTS (SELECT FROM job WHERE state = 'pending')",
    )


def create_naive(stack: ExitStack) -> tuple[System, System]:
    """Return the naive system with a synchronous endpoint and with an async one, on the same servers."""
    naive = System(
        "naive",
        stack.enter_context(durable_servers()),
        worker=_celery("benchmarks.naive.worker"),
        api="benchmarks.naive.api:app",
        backlog=_NAIVE_BACKLOG,
        feed=(sys.executable, "-m", "benchmarks.naive.worker"),
    )
    run([*naive.feed, "0"], naive.servers.env)
    return naive, replace(naive, name="naive, async", api="benchmarks.naive.api:async_app")


def create_bare(stack: ExitStack) -> System:
    """Return the bare endpoint, which has no worker."""
    return System("bare", stack.enter_context(durable_servers()), api="benchmarks.bare:app")


def create_peer(stack: ExitStack, name: str) -> System:
    """Return a peer."""
    command = (PEERS_PYTHON, "-m", "benchmarks.peers", name)
    peer = System(
        name,
        stack.enter_context(durable_servers()),
        worker=(*command, "work"),
        tables="item",
        feed=(*command, "feed"),
        finished="SELECT count(*) FROM item WHERE runs > 0",
        twice="SELECT count(*) FROM item WHERE runs > 1",
    )
    peer.database.query(_PEER_TABLE)
    run([*command, "prepare"], peer.servers.env)
    return peer


@contextmanager
def durable_servers(options: Sequence[str] = ()) -> Iterator[Servers]:
    """Run PostgreSQL and Valkey with their default durability."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        # PostgreSQL does not run as root, and its own user needs access.
        Path(directory).chmod(0o755)
        servers = start_local_servers(Path(directory), options)
        try:
            yield servers
        finally:
            servers.close()


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path = ROOT) -> str:
    """Run a program and return what it prints; exit with its errors if it fails."""
    env = {**os.environ, **env}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise SystemExit(f"benchmark: {' '.join(map(str, command))} failed:\n{done.stderr}")
    return str(done.stdout)


def _celery(app: str) -> tuple[str, ...]:
    return (tool("celery"), "-A", app, "worker", "--loglevel=info", "--without-mingle", "--without-gossip")


def _responds(started: Started, port: int) -> bool:
    started.check()
    try:
        return httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
    except httpx.TransportError:
        return False


def _is_ready(started: Started) -> bool:
    started.check()
    return started.log.has(" ready.")
