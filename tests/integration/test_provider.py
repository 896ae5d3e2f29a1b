"""A provider that is down: its jobs wait instead of failing, and go on by themselves."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from devstack.network import wait_until
from tests.conftest import ApiFactory, WorkerFactory
from tests.support.database import Database
from tests.support.provider import Provider
from tests.support.tasks import PROVIDER_TASK, TASK

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


def test_jobs_wait_while_the_circuit_is_open_and_are_done_when_the_provider_is_back(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, provider: Provider
) -> None:
    provider.status = 503
    new_api(SHORT)
    new_worker(SHORT, app=MISBEHAVING)
    for _ in range(100):
        database.add_job(PROVIDER_TASK, url=provider.url)
    wait_until(
        lambda: database.one("SELECT count(*) FROM circuit WHERE open_until > now()") == 1,
        30,
        "the circuit to open",
    )

    other = database.add_job(TASK)
    wait_until(lambda: database.job(other)["state"] == "succeeded", 30, "a job of another task")
    # Two processes work: at most one more each failed while the third failure opened the circuit, and then
    # one probe a second.
    asked = provider.requests
    wait_until(lambda: provider.requests >= asked + 2, 30, "two probes")
    assert database.states().get("dead", 0) == 0
    assert database.one("SELECT count(*) FROM job_failure") <= provider.requests
    assert database.one("SELECT coalesce(max(attempts), 0) FROM job") <= 4

    provider.status = 200

    database.wait_for_states({"succeeded": 101})
    # Told after the job's end is written.
    wait_until(lambda: database.one("SELECT count(*) FROM circuit") == 0, 30, "the circuit to be closed")
    assert database.one("SELECT count(*) FROM effect WHERE attempt > 0") == 101


def test_retry_after_is_honoured(
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


def test_what_the_provider_refuses_is_dead_at_once(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, provider: Provider
) -> None:
    provider.status = 400
    new_api(SHORT)
    new_worker(SHORT, app=MISBEHAVING)
    job_id = database.add_job(PROVIDER_TASK, url=provider.url)

    database.wait_for_states({"dead": 1})

    assert database.job(job_id)["attempts"] == 1
    assert provider.requests == 1


def test_a_provider_that_is_back_and_refuses_is_no_reason_to_wait(
    new_api: ApiFactory, new_worker: WorkerFactory, database: Database, provider: Provider
) -> None:
    provider.status = 503
    patient = {**SHORT, "RETRY_DELAYS": "0.1,0.1,0.1,0.1,0.1,0.1"}
    new_api(patient)
    new_worker(patient, app=MISBEHAVING)
    for _ in range(30):
        database.add_job(PROVIDER_TASK, url=provider.url)
    wait_until(
        lambda: database.one("SELECT count(*) FROM circuit WHERE open_until > now()") == 1, 30, "the circuit"
    )

    provider.status = 400

    database.wait_for_states({"dead": 30}, 30)
    # Told after the job's end is written.
    wait_until(lambda: database.one("SELECT count(*) FROM circuit") == 0, 30, "the circuit to be closed")
