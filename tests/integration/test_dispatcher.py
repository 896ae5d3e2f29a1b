"""The dispatcher publishes due jobs, republishes lost messages and leaves queued messages unchanged."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import psycopg2
import pytest
import redis

from api.database import Database as ApiDatabase
from api.database import open_database
from api.dispatch.broker import Broker, BrokerUnavailable
from api.dispatch.dispatcher import Dispatcher
from api.dispatch.envelope import parse_job_id
from api.dispatch.ledger import find_lanes
from api.settings import ApiSettings
from contracts.ledger.classes import PriorityClass
from contracts.ledger.dispatch import FOUND_LANES_MAX, SCANNED_LANES_MAX
from contracts.ledger.shares import TRY_LOCK_LIMITS
from tests.conftest import ApiFactory
from tests.support.database import Database
from tests.support.servers import Servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio

TASK = "tests.unconsumed"


class Harness:
    """Dispatchers on real servers. The tests run each round explicitly."""

    def __init__(self, servers: Servers, pool: ApiDatabase, broker: Broker) -> None:
        self._env = {"database_url": servers.database_url, "celery_broker_url": servers.env["CELERY_BROKER_URL"]}
        self.pool = pool
        self._broker = broker

    def dispatcher(self, **settings: Any) -> Dispatcher:
        return Dispatcher(self.pool, self._broker, ApiSettings(**{**self._env, "queue_bound": 1000, **settings}))


@pytest.fixture
async def harness(servers: Servers, database: Database, broker: redis.Redis) -> AsyncIterator[Harness]:
    del database, broker
    settings = ApiSettings(database_url=servers.database_url)
    async with open_database(settings) as pool, Broker(servers.env["CELERY_BROKER_URL"]) as client:
        yield Harness(servers, pool, client)


def queued_ids(broker: redis.Redis, queue: str = "issues") -> list[str | None]:
    """Return the job ids of a queue in the order in which a worker receives them."""
    messages = broker.lrange(queue, 0, -1)
    assert isinstance(messages, list)
    return [parse_job_id(message) for message in reversed(messages)]


def expire_leases(database: Database) -> None:
    database.query("UPDATE job SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL")


async def sweep(dispatcher: Dispatcher) -> None:
    await dispatcher.expire_running()
    await dispatcher.find_lost_messages()


async def test_due_jobs_are_published_oldest_first_to_their_queues(
    harness: Harness, database: Database, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.dispatch.dispatcher.BATCH", 2)
    issues = [str(database.add_job(TASK)) for _ in range(5)]
    other = str(database.add_job(TASK, queue="default"))
    later = database.add_job(TASK)
    database.query("UPDATE job SET run_at = now() + interval '1 h' WHERE id = %s", later)

    assert await harness.dispatcher().publish_due()

    assert queued_ids(broker) == issues
    assert queued_ids(broker, "default") == [other]
    assert database.states() == {"queued": 6, "pending": 1}


async def test_search_of_very_many_lanes_continues_behind_last_one(
    harness: Harness, database: Database, broker: redis.Redis
) -> None:
    projects = 2 * FOUND_LANES_MAX + 50
    database.query(
        "INSERT INTO job (id, task, queue, message, project, priority_class)"
        " SELECT gen_random_uuid(), %s, 'issues', '{}', 'project-' || n / 2, 2 * mod(n, 2)"
        " FROM generate_series(0, 2 * %s - 1) AS n",
        TASK,
        projects,
    )
    seen: Counter[tuple[int, str, str]] = Counter()
    last = {0: ("", ""), 2: ("", "")}
    for _ in range(3):
        found, last = await find_lanes(harness.pool, "issues", last)
        assert Counter(lane.priority_class for lane in found) == {0: FOUND_LANES_MAX, 2: FOUND_LANES_MAX}
        seen.update(lane.key for lane in found)
    assert len(seen) == 2 * projects
    assert set(seen.values()) == {1, 2}

    await harness.dispatcher().publish_due()

    assert len(queued_ids(broker)) == 2 * projects, "one pass must publish the jobs of all lanes"


@pytest.mark.parametrize("reason", ["due later", "circuit breaker", "task pause"])
async def test_lane_behind_very_many_waiting_lanes_is_published(
    reason: str, harness: Harness, database: Database, broker: redis.Redis
) -> None:
    """Each search reads a bounded number of lanes, also if none of them may be published."""
    waiting_task = "tests.waiting"
    database.query(
        "INSERT INTO job (id, task, queue, message, project, run_at)"
        " SELECT gen_random_uuid(), %s, 'issues', '{}', 'project-' || n, now() + CAST(%s AS interval)"
        " FROM generate_series(1, %s) AS n",
        waiting_task,
        "1 h" if reason == "due later" else "0",
        SCANNED_LANES_MAX + 50,
    )
    if reason == "circuit breaker":
        database.query(
            "INSERT INTO circuit (task, provider, failures, last_error, open_until)"
            " VALUES (%s, 'local', 5, 'Down', now() + interval '1 h')",
            waiting_task,
        )
    if reason == "task pause":
        database.pause("task", waiting_task)
    dispatcher = harness.dispatcher()
    job_id = database.add_job(TASK)
    database.query("UPDATE job SET project = 'the last one' WHERE id = %s", job_id)
    last: dict[int, tuple[str, str]] = dict.fromkeys(PriorityClass, ("", ""))

    found, ends = await find_lanes(harness.pool, "issues", last)
    following, _ = await find_lanes(harness.pool, "issues", last | ends)

    assert (found, list(ends)) == ([], [PriorityClass.MEDIUM])
    assert [lane.project for lane in following] == ["the last one"]
    assert not await dispatcher.publish_due(), "the dispatcher must search again soon"
    while not queued_ids(broker):
        await asyncio.sleep(0.1)
        await dispatcher.publish_due()
    assert queued_ids(broker) == [str(job_id)]


async def test_locked_limits_leave_selection_to_next_pass(
    harness: Harness, servers: Servers, database: Database, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another dispatcher claims. The lanes are not empty, so no search is necessary."""
    searches: list[str] = []

    async def count_search(pool: ApiDatabase, queue: str, last: Any) -> Any:
        searches.append(queue)
        return await find_lanes(pool, queue, last)

    monkeypatch.setattr("api.dispatch.ledger.find_lanes", count_search)
    monkeypatch.setattr("api.dispatch.lane_search.INTERVAL", 1e9)
    monkeypatch.setattr("api.dispatch.lane_search.VALID_MAX_S", 1e9)
    dispatcher = harness.dispatcher(project_running_max=5)
    job_id = database.add_job(TASK)
    with psycopg2.connect(servers.database_url) as other, other.cursor() as cursor:
        cursor.execute(TRY_LOCK_LIMITS.sql)
        for _ in range(3):
            assert not await dispatcher.publish_due(), "the dispatcher must claim again soon"
    assert searches.count("issues") == 1
    assert queued_ids(broker) == []

    await dispatcher.publish_due()

    assert queued_ids(broker) == [str(job_id)]


async def test_job_that_another_transaction_locks_does_not_hide_its_lane(
    harness: Harness, servers: Servers, database: Database, broker: redis.Redis
) -> None:
    locked, following = (database.add_job(TASK) for _ in range(2))
    dispatcher = harness.dispatcher()
    with psycopg2.connect(servers.database_url) as other, other.cursor() as cursor:
        cursor.execute("SELECT FROM job WHERE id = %s FOR UPDATE", [str(locked)])
        await dispatcher.publish_due()
        assert queued_ids(broker) == [str(following)]

    await dispatcher.publish_due()

    assert queued_ids(broker) == [str(following), str(locked)]


async def test_retrying_job_when_due_is_published(
    harness: Harness, database: Database, broker: redis.Redis
) -> None:
    job_id = database.add_job(TASK)
    database.query("UPDATE job SET state = 'retrying', run_at = now() WHERE id = %s", job_id)

    await harness.dispatcher().publish_due()

    assert queued_ids(broker) == [str(job_id)]


async def test_due_jobs_with_two_dispatchers_are_published_once(
    harness: Harness, database: Database, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.dispatch.dispatcher.BATCH", 20)
    jobs = {str(database.add_job(TASK)) for _ in range(300)}
    dispatchers = [harness.dispatcher() for _ in range(2)]

    await asyncio.gather(*(dispatcher.publish_due() for dispatcher in dispatchers))

    published = queued_ids(broker)
    assert len(published) == len(jobs)
    assert set(published) == jobs


async def test_due_jobs_beyond_queue_bound_stay_pending(
    harness: Harness, database: Database, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.dispatch.dispatcher.BATCH", 4)
    for _ in range(30):
        database.add_job(TASK)
    dispatcher = harness.dispatcher(queue_bound=10)

    assert not await dispatcher.publish_due()
    assert broker.llen("issues") == 10
    assert database.states() == {"queued": 10, "pending": 20}

    broker.rpop("issues", 4)
    await dispatcher.publish_due()
    assert broker.llen("issues") == 10
    assert database.states() == {"queued": 14, "pending": 16}


async def test_full_queue_does_not_slow_the_polls_of_another(
    harness: Harness, database: Database, broker: redis.Redis
) -> None:
    for _ in range(60):
        database.add_job(TASK)
    broker.rpush("default", *(["{}"] * 10))
    dispatcher = harness.dispatcher(queue_bound=10)

    for _ in range(6):
        await dispatcher.publish_due()
        broker.ltrim("issues", 0, 3)
    await dispatcher.publish_due()

    assert dispatcher.poll_s() < 0.01


async def test_queued_message_with_expired_lease_is_not_published_again(
    harness: Harness, database: Database, broker: redis.Redis
) -> None:
    jobs = [str(database.add_job(TASK)) for _ in range(50)]
    dispatcher = harness.dispatcher()
    await dispatcher.publish_due()

    for _ in range(3):
        expire_leases(database)
        await sweep(dispatcher)
        await dispatcher.publish_due()

    assert queued_ids(broker) == jobs
    assert database.one("SELECT count(*) FROM job WHERE lease_until > now()") == 50


async def test_lost_messages_with_expired_lease_are_published_again(
    harness: Harness, database: Database, broker: redis.Redis
) -> None:
    jobs = [str(database.add_job(TASK)) for _ in range(10)]
    dispatcher = harness.dispatcher()
    await dispatcher.publish_due()
    broker.rpop("issues", 4)

    await sweep(dispatcher)
    assert broker.llen("issues") == 6, "the dispatcher must not touch an unexpired lease"

    expire_leases(database)
    await sweep(dispatcher)
    await dispatcher.publish_due()

    assert sorted(queued_ids(broker), key=str) == sorted(jobs)


async def test_queued_jobs_after_broker_wipe_are_published_again(
    harness: Harness, database: Database, broker: redis.Redis
) -> None:
    jobs = {str(database.add_job(TASK)) for _ in range(100)}
    dispatcher = harness.dispatcher()
    await dispatcher.publish_due()

    broker.flushall()
    expire_leases(database)
    await sweep(dispatcher)
    await dispatcher.publish_due()

    assert set(queued_ids(broker)) == jobs


async def test_job_of_lost_worker_is_requeued_and_attempt_recorded(
    harness: Harness, database: Database, broker: redis.Redis
) -> None:
    job_id = database.add_job(TASK)
    database.query(
        "UPDATE job SET state = 'running', attempts = 1, tries = 1, worker = 'w@host', started_at = now(), "
        "lease_until = now() - interval '1 s'"
    )
    dispatcher = harness.dispatcher()

    await sweep(dispatcher)
    await dispatcher.publish_due()

    assert queued_ids(broker) == [str(job_id)]
    (failure,) = database.failures(job_id)
    assert (failure["attempt"], failure["kind"], failure["worker"]) == (1, "lost", "w@host")


async def test_job_that_kills_its_workers_is_dead(
    harness: Harness, database: Database, broker: redis.Redis
) -> None:
    job_id = database.add_job(TASK)
    database.query(
        "UPDATE job SET state = 'running', attempts = 4, tries = 4, lease_until = now() - interval '1 s'"
    )
    dispatcher = harness.dispatcher()

    await sweep(dispatcher)
    await dispatcher.publish_due()

    job = database.job(job_id)
    assert (job["state"], job["lease_until"]) == ("dead", None)
    assert "WorkerLost" in job["last_error"]
    assert broker.llen("issues") == 0


async def test_due_jobs_while_broker_is_down_stay_pending(
    servers: Servers, harness: Harness, database: Database, broker: redis.Redis
) -> None:
    job_id = database.add_job(TASK)
    servers.valkey.stop()
    try:
        with pytest.raises(BrokerUnavailable):
            await harness.dispatcher().publish_due()
        assert database.states() == {"pending": 1}
    finally:
        servers.valkey.start()

    await harness.dispatcher().publish_due()
    assert queued_ids(broker) == [str(job_id)]


async def test_due_jobs_while_broker_is_full_stay_pending(
    harness: Harness, database: Database, broker: redis.Redis
) -> None:
    for _ in range(5):
        database.add_job(TASK)
    broker.config_set("maxmemory", "1")
    try:
        with pytest.raises(BrokerUnavailable, match="OutOfMemory"):
            await harness.dispatcher().publish_due()
        assert database.states() == {"pending": 5}
    finally:
        broker.config_set("maxmemory", "0")

    await harness.dispatcher().publish_due()
    assert broker.llen("issues") == 5


def test_post_while_broker_is_down_returns_201_and_job_is_published_later(
    servers: Servers, new_api: ApiFactory, database: Database, broker: redis.Redis
) -> None:
    api = new_api({})
    servers.valkey.stop()
    try:
        assert api.post("While Redis is down").status_code == 201
        ready = api.client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert database.states() == {"pending": 1}
    finally:
        servers.valkey.start()

    wait_until(lambda: broker.llen("issues") == 1, "the job to be published")
    assert database.states() == {"queued": 1}


def test_post_while_database_is_down_returns_503(
    servers: Servers, new_api: ApiFactory, database: Database
) -> None:
    api = new_api({})
    servers.postgres.stop()
    try:
        response = api.post("While PostgreSQL is down")
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert int(response.headers["retry-after"]) > 0
        ready = api.client.get("/readyz")
        assert (ready.status_code, ready.headers["content-type"]) == (503, "application/problem+json")
        assert (ready.json()["database"], ready.json()["broker"]) == ("unavailable", "ok")
        assert api.client.get("/livez").status_code == 200
    finally:
        servers.postgres.start()

    wait_until(lambda: api.post("After it").status_code == 201, "the API to use the database again")
    assert database.one("SELECT count(*) FROM issue WHERE title = 'While PostgreSQL is down'") == 0
