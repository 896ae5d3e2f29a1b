"""Fixtures: one set of real servers per test process, an API on them, and workers on demand."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import hypothesis
import psycopg2.errors
import pytest
import redis

from contracts.names import HEARTBEAT_KEY_PREFIX
from contracts.tables import Base
from tests.support import servers as server_module
from tests.support.database import Database
from tests.support.processes import Api, RunningProcess, start_api, start_worker
from tests.support.redis_users import find_denied
from tests.support.servers import Servers, migrate, start_servers

STOP_TIMEOUT_S = 60
WORKER_STOP_TIMEOUT_S = 8
"""A worker that is stopped just as its task ends sometimes waits for the soft time limit of the task (Celery
5.6.3, billiard 4.3.2). The reason is unknown. Separate tests cover the shutdown of a worker."""

# The same inputs in each run, so that a red test means a fault. `make test-nightly` tries new ones.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# The shared API dispatches only the issues posted to it. Tests that need more start their own dispatchers.
SHARED_SETTINGS = {"DISPATCH_POLL_SECONDS": "3600", "QUEUE_BOUND": "1000"}

TABLES = [
    *(table.name for table in reversed(Base.metadata.sorted_tables) if table.name != "event"),
    "effect",
    "event",
]
"""All tables, each before the tables that it refers to; the deletion of other rows can add events."""

# For the few rows of a test, DELETE costs a fiftieth of TRUNCATE.
EMPTY = f"""
DO $$ BEGIN
    LOCK TABLE {", ".join(TABLES)} IN SHARE ROW EXCLUSIVE MODE;
    IF pg_relation_size('issue') + pg_relation_size('job') > 1000000 THEN
        TRUNCATE {", ".join(TABLES)};
    ELSE
        {" ".join(f"DELETE FROM {table};" for table in TABLES)}
    END IF;
END $$"""


def pytest_report_header() -> str:
    return f"servers: {server_module.description()}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


_started: list[Servers] = []
"""The servers of this process, if a test has used them."""


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Yield PostgreSQL with the current schema, and Redis or Valkey."""
    shared_process = start_servers(tmp_path_factory.mktemp("servers"))
    migrate(shared_process)
    with closing(Database(shared_process.database_url)) as database:
        # The task of the tests writes one row per effect, so a second row of a job is a second effect.
        database.query("CREATE TABLE effect (job_id uuid, attempt integer)")
    _started.append(shared_process)
    yield shared_process
    denied = find_denied(shared_process.redis_port)
    shared_process.close()
    assert denied == [], "the services of the tests need more permissions in Redis than deploy/redis/users grants"


@pytest.fixture(scope="session")
def _database(servers: Servers) -> Iterator[Database]:
    with closing(Database(servers.database_url)) as database:
        yield database


def _empty_database(database: Database) -> None:
    while True:
        try:
            database.query(EMPTY)
        except psycopg2.errors.DeadlockDetected:
            # A transaction of a process that still runs locks the same tables in another order.
            continue
        return


def _empty_broker(client: redis.Redis) -> None:
    # Not FLUSHALL, because workers of other tests depend on the queues that they declared. Heartbeats remain for
    # seconds after the end of a worker.
    heartbeats = client.scan_iter(f"{HEARTBEAT_KEY_PREFIX}*")
    client.delete("issues", "default", "refused", "unacked", "unacked_index", *heartbeats)


@pytest.fixture(scope="module", autouse=True)
def _empty_servers() -> None:
    """Empty the servers before the services of a module start, which would process jobs of the module before."""
    for servers in _started:
        with closing(Database(servers.database_url)) as database:
            _empty_database(database)
        with redis.Redis(port=servers.redis_port) as client:
            _empty_broker(client)


@pytest.fixture
def database(_database: Database) -> Database:
    """Return the emptied database."""
    _empty_database(_database)
    return _database


@pytest.fixture
def broker(servers: Servers) -> Iterator[redis.Redis]:
    """Yield the emptied database of the broker."""
    with redis.Redis(port=servers.redis_port, decode_responses=True) as client:
        _empty_broker(client)
        yield client


@pytest.fixture(scope="session")
def shared_api(servers: Servers) -> Iterator[Api]:
    shared_process = start_api({**servers.env, **SHARED_SETTINGS})
    yield shared_process
    shared_process.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def api(shared_api: Api, database: Database, broker: redis.Redis) -> Api:
    """Return an API process on an emptied database, without a worker."""
    del database, broker
    return shared_api


ApiFactory = Callable[[Mapping[str, str]], Api]
WorkerFactory = Callable[..., RunningProcess]


@pytest.fixture
def new_api(servers: Servers, database: Database, broker: redis.Redis) -> Iterator[ApiFactory]:
    """Yield a function that starts API processes with additional settings."""
    del database, broker
    programs: list[Api] = []

    def start_one(env: Mapping[str, str]) -> Api:
        programs.append(start_api({**servers.env, **env}))
        return programs[-1]

    yield start_one
    for api in programs:
        api.client.close()
        api.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def new_worker(servers: Servers, database: Database, broker: redis.Redis) -> Iterator[WorkerFactory]:
    """Yield a function that starts workers with additional settings."""
    del database, broker
    programs: list[RunningProcess] = []

    def start_one(env: Mapping[str, str], name: str = "worker", app: str = "app.celery_app") -> RunningProcess:
        programs.append(start_worker({**servers.env, **env}, name, app))
        return programs[-1]

    yield start_one
    for worker in programs:
        worker.process.stop(WORKER_STOP_TIMEOUT_S)
