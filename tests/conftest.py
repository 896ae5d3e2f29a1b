"""Fixtures: one set of real servers a test process, an API on them, workers on demand."""

from collections.abc import Callable, Iterator, Mapping

import pytest
import redis

from contracts.names import HEARTBEAT_KEY_PREFIX
from tests.support import servers as server_module
from tests.support.database import Database
from tests.support.processes import Api, Running, start_api, start_worker
from tests.support.servers import Servers, migrate, start_servers

STOP_TIMEOUT_S = 60
WORKER_STOP_TIMEOUT_S = 8
"""A worker that is told to stop as its task ends was seen to wait for the task's soft time limit before it went
(Celery 5.6.3, billiard 4.3.2); why is not known. What a worker does when it is told to stop, tests of
their own wait for."""

# The shared API dispatches what is posted to it and looks for nothing else: tests run dispatchers of their own.
SHARED_SETTINGS = {"DISPATCH_POLL_SECONDS": "3600"}

# What is emptied before each test; what refers to these goes with them.
TABLES = (
    *("issue", "job", "dead_message", "circuit", "effect", "project_model", "audit_log", "provider_usage"),
    *("idempotent_answer", "tag_description", "api_token", "api_session", "operation", "webhook"),
)


def pytest_report_header() -> str:
    return f"servers: {server_module.description()}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL, migrated, and Redis or Valkey."""
    running = start_servers(tmp_path_factory.mktemp("servers"))
    migrate(running)
    yield running
    running.close()


@pytest.fixture(scope="session")
def _database(servers: Servers) -> Iterator[Database]:
    database = Database(servers.database_url)
    # What the tests' own task writes: a second row for a job would be a second effect.
    database.query("CREATE TABLE effect (job_id uuid, attempt integer)")
    yield database
    database.close()


@pytest.fixture
def database(_database: Database) -> Database:
    """The database, emptied."""
    _database.query(f"TRUNCATE {', '.join(TABLES)} CASCADE")
    return _database


@pytest.fixture
def broker(servers: Servers) -> Iterator[redis.Redis]:
    """The broker's database, emptied together with the results."""
    with redis.Redis(port=servers.redis_port, decode_responses=True) as client:
        # Not FLUSHALL: workers that other tests share are subscribed to what they declared.
        heartbeat = client.scan_iter(f"{HEARTBEAT_KEY_PREFIX}*")  # they outlive a worker by seconds
        client.delete("issues", "default", "refused", "unacked", "unacked_index", *heartbeat)
        yield client


@pytest.fixture(scope="session")
def shared_api(servers: Servers) -> Iterator[Api]:
    running = start_api({**servers.env, **SHARED_SETTINGS})
    yield running
    running.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def api(shared_api: Api, database: Database, broker: redis.Redis) -> Api:
    """An API process on an emptied database, with no worker behind it."""
    del database, broker
    return shared_api


ApiFactory = Callable[[Mapping[str, str]], Api]
WorkerFactory = Callable[..., Running]


@pytest.fixture
def new_api(servers: Servers, database: Database, broker: redis.Redis) -> Iterator[ApiFactory]:
    """Start API processes of the test's own, with further settings."""
    del database, broker
    started: list[Api] = []

    def start(env: Mapping[str, str]) -> Api:
        started.append(start_api({**servers.env, **env}))
        return started[-1]

    yield start
    for api in started:
        api.client.close()
        api.process.stop(STOP_TIMEOUT_S)


@pytest.fixture
def new_worker(servers: Servers, database: Database, broker: redis.Redis) -> Iterator[WorkerFactory]:
    """Start workers of the test's own, with further settings."""
    del database, broker
    started: list[Running] = []

    def start(env: Mapping[str, str], name: str = "worker", app: str = "app.celery_app") -> Running:
        started.append(start_worker({**servers.env, **env}, name, app))
        return started[-1]

    yield start
    for worker in started:
        worker.process.stop(WORKER_STOP_TIMEOUT_S)
