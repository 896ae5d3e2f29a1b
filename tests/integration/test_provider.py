"""A provider that is down: its jobs wait instead of failing, and resume automatically."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.provider import Provider
from tests.support.tasks import PROVIDER_TASK, TASK
from tests.support.waiting import wait_until

MISBEHAVING = "tests.support.misbehaving_app"
SHORT = {
    "RETRY_DELAYS": "0.1,0.1,0.1",
    "DISPATCH_POLL_SECONDS": "0.1",
    "CIRCUIT_THRESHOLD": "3",
    "CIRCUIT_PAUSE_SECONDS": "1",
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


def test_jobs_wait_while_circuit_breaker_is_open_and_succeed_afterwards(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, provider: Provider
) -> None:
    provider.status = 503
    new_api(SHORT)
    new_worker(SHORT, app=MISBEHAVING)
    for _ in range(100):
        database.add_job(PROVIDER_TASK, url=provider.url)
    wait_until(
        lambda: database.one("SELECT count(*) FROM circuit WHERE open_until > now()") == 1,
        "the circuit breaker to open",
    )

    other = database.add_job(TASK)
    wait_until(lambda: database.job(other)["state"] == "succeeded", "the job of another task to succeed")
    # Two processes run: each fails at most once more while the third failure opens the circuit breaker.
    # Afterwards there is one probe per second.
    requests = provider.requests
    wait_until(lambda: provider.requests >= requests + 2, "two probes")
    assert database.states().get("dead", 0) == 0
    assert database.one("SELECT count(*) FROM job_failure") <= provider.requests
    assert database.one("SELECT coalesce(max(attempts), 0) FROM job") <= 4

    provider.status = 200

    database.wait_for_states({"succeeded": 101})
    # The worker closes the circuit breaker after it completes the job.
    wait_until(lambda: database.one("SELECT count(*) FROM circuit") == 0, "the circuit breaker to close")
    assert database.one("SELECT count(*) FROM effect WHERE attempt > 0") == 101


def test_retry_after_of_provider_delays_next_attempt(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, provider: Provider
) -> None:
    provider.status, provider.headers = 429, {"retry-after": "600"}
    new_api(SHORT)
    new_worker(SHORT, app=MISBEHAVING)
    job_id = database.add_job(PROVIDER_TASK, url=provider.url)

    database.wait_for_states({"retrying": 1})

    (failure,) = database.failures(job_id)
    assert database.job(job_id)["run_at"] - failure["failed_at"] == timedelta(seconds=600)
    assert failure["kind"] == "transient"


def test_job_rejected_by_provider_is_dead_after_first_attempt(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, provider: Provider
) -> None:
    provider.status = 400
    new_api(SHORT)
    new_worker(SHORT, app=MISBEHAVING)
    job_id = database.add_job(PROVIDER_TASK, url=provider.url)

    database.wait_for_states({"dead": 1})

    assert database.job(job_id)["attempts"] == 1
    assert provider.requests == 1


def test_provider_that_rejects_after_outage_closes_circuit_breaker(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, provider: Provider
) -> None:
    provider.status = 503
    long_schedule = {**SHORT, "RETRY_DELAYS": "0.1,0.1,0.1,0.1,0.1,0.1"}
    new_api(long_schedule)
    new_worker(long_schedule, app=MISBEHAVING)
    for _ in range(30):
        database.add_job(PROVIDER_TASK, url=provider.url)
    wait_until(
        lambda: database.one("SELECT count(*) FROM circuit WHERE open_until > now()") == 1,
        "the circuit breaker to open",
    )

    provider.status = 400

    database.wait_for_states({"dead": 30})
    last_failures = "SELECT DISTINCT ON (job_id) kind FROM job_failure ORDER BY job_id, attempt DESC"
    assert {row["kind"] for row in database.query(last_failures)} == {"permanent"}
    # The worker closes the circuit breaker after it completes the job.
    wait_until(lambda: database.one("SELECT count(*) FROM circuit") == 0, "the circuit breaker to close")
