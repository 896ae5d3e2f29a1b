"""Ledger transitions by the worker: claims, fencing by attempt, and the retry schedule."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import sessionmaker

from app.ledger.circuit import THRESHOLD, Circuits
from app.ledger.store import Claim, Failure, LeaseLost, Ledger
from contracts.states import FailureKind, JobState
from tests.support.database import Database

DELAYS = (60.0, 120.0, 240.0)


def get_ledger(engine: Engine, worker: str) -> Ledger:
    return Ledger(engine, worker, timedelta(seconds=30), DELAYS)


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return get_ledger(engine, "w@host")


@pytest.fixture
def job_id(database: Database) -> UUID:
    """Return a job whose message has been published."""
    job_id = database.add_job("tests.task")
    publish(database, job_id)
    return job_id


def publish(database: Database, job_id: UUID) -> None:
    database.query("UPDATE job SET state = 'queued', lease_until = now() + interval '30 s' WHERE id = %s", job_id)


def claim_job(ledger: Ledger, job_id: UUID) -> Claim:
    claim = ledger.claim(job_id)
    assert claim is not None
    return claim


def take_over(database: Database, ledger: Ledger, job_id: UUID) -> Claim:
    """Publish the job again and claim it, as if its first worker were lost."""
    publish(database, job_id)
    return claim_job(ledger, job_id)


def insert_effect(job_id: UUID, attempt: int):
    def effect(connection: Connection) -> None:
        connection.execute(text("INSERT INTO effect VALUES (:job, :attempt)"), {"job": job_id, "attempt": attempt})

    return effect


def assert_lease_lost(ledger: Ledger, claim: Claim) -> None:
    assert not ledger.renew([claim])
    with pytest.raises(LeaseLost):
        ledger.complete(claim, JobState.SUCCEEDED, insert_effect(claim.job_id, claim.attempt_number))
    with pytest.raises(LeaseLost):
        ledger.fail(claim, Failure(FailureKind.BUG, "late"))


def test_only_claim_commits_asynchronously(ledger: Ledger, database: Database, job_id: UUID) -> None:
    """A trigger records the setting of `synchronous_commit` at each commit."""
    database.query("""
        CREATE TABLE commit_log (at serial, state text, mode text);
        CREATE FUNCTION log_commit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO commit_log (state, mode) VALUES (NEW.state, current_setting('synchronous_commit'));
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER log_commit AFTER UPDATE ON job DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION log_commit()
    """)
    try:
        claim = claim_job(ledger, job_id)
        assert ledger.renew([claim])
        ledger.complete(claim, JobState.SUCCEEDED)
        rows = database.query("SELECT state, mode FROM commit_log ORDER BY at")
    finally:
        database.query("DROP TRIGGER log_commit ON job; DROP FUNCTION log_commit(); DROP TABLE commit_log")

    assert [tuple(row.values()) for row in rows] == [("running", "off"), ("running", "on"), ("succeeded", "on")]


def test_queued_job_is_claimed_once(ledger: Ledger, database: Database, job_id: UUID) -> None:
    claim = claim_job(ledger, job_id)

    assert (claim.attempt_number, claim.attempts_since_replay) == (1, 1)
    assert ledger.claim(job_id) is None
    job = database.job(job_id)
    assert (job["state"], job["attempts"], job["worker"]) == ("running", 1, "w@host")
    assert job["lease_until"] > job["started_at"]


def test_retrying_job_is_not_claimed_by_old_message(ledger: Ledger, job_id: UUID) -> None:
    ledger.fail(claim_job(ledger, job_id), Failure(FailureKind.TRANSIENT, "ConnectionError: away"))

    assert ledger.claim(job_id) is None


def test_finish_commits_effect_and_state_together(ledger: Ledger, database: Database, job_id: UUID) -> None:
    ledger.complete(claim_job(ledger, job_id), JobState.SUCCEEDED, insert_effect(job_id, 1))

    job = database.job(job_id)
    assert (job["state"], job["lease_until"]) == ("succeeded", None)
    assert job["finished_at"] is not None
    assert database.one("SELECT count(*) FROM effect") == 1


def test_finish_with_failing_effect_leaves_job_running(ledger: Ledger, database: Database, job_id: UUID) -> None:
    def effect(connection: Connection) -> None:
        insert_effect(job_id, 1)(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.complete(claim_job(ledger, job_id), JobState.SUCCEEDED, effect)

    assert database.job(job_id)["state"] == "running"
    assert database.one("SELECT count(*) FROM effect") == 0


def test_worker_with_lost_lease_writes_nothing(ledger: Ledger, database: Database, job_id: UUID) -> None:
    old_claim = claim_job(ledger, job_id)
    new_claim = take_over(database, ledger, job_id)

    assert_lease_lost(ledger, old_claim)
    ledger.complete(new_claim, JobState.SUCCEEDED, insert_effect(job_id, 2))
    with pytest.raises(LeaseLost):
        ledger.complete(old_claim, JobState.SUCCEEDED, insert_effect(job_id, 1))

    assert database.query("SELECT attempt FROM effect") == [{"attempt": 2}]
    assert database.failures(job_id) == []


def test_worker_with_claim_lost_in_crash_writes_nothing(engine: Engine, database: Database, job_id: UUID) -> None:
    """A claim commits asynchronously. After a crash the job is queued and the next attempt has the same number."""
    ledger, other = get_ledger(engine, "w@host/1"), get_ledger(engine, "w@host/2")
    before = database.job(job_id)
    lost_claim = claim_job(ledger, job_id)
    columns = ("state", "attempts", "tries", "worker", "started_at", "lease_until")
    database.query(
        f"UPDATE job SET {', '.join(f'{name} = %s' for name in columns)} WHERE id = %s",
        *(before[name] for name in columns),
        job_id,
    )
    new_claim = claim_job(other, job_id)
    assert new_claim.attempt_number == lost_claim.attempt_number

    assert_lease_lost(ledger, lost_claim)
    other.complete(new_claim, JobState.SUCCEEDED, insert_effect(job_id, 2))

    assert database.query("SELECT attempt FROM effect") == [{"attempt": 2}]


def test_renew_extends_lease(ledger: Ledger, database: Database, job_id: UUID) -> None:
    claim = claim_job(ledger, job_id)
    database.query("UPDATE job SET lease_until = now() + interval '1 s' WHERE id = %s", job_id)
    before = database.job(job_id)["lease_until"]

    assert ledger.renew([claim])

    assert database.job(job_id)["lease_until"] > before + timedelta(seconds=20)


@pytest.mark.parametrize(("kind", "name"), [("queue", "issues"), ("task", "tests.task"), ("project", "acme/shop")])
def test_paused_job_is_returned_without_attempt(
    kind: str, name: str, ledger: Ledger, database: Database, job_id: UUID
) -> None:
    database.query("UPDATE job SET project = 'acme/shop', run_at = now() - interval '1 h' WHERE id = %s", job_id)
    scheduled = database.job(job_id)["run_at"]
    database.pause(kind, name)

    assert ledger.claim(job_id) is None
    assert ledger.defer(job_id)

    job = database.job(job_id)
    assert (job["state"], job["attempts"], job["run_at"]) == ("pending", 0, scheduled)
    assert (job["lease_until"], job["queued_at"]) == (None, None)
    database.query("DELETE FROM pause")
    publish(database, job_id)
    assert claim_job(ledger, job_id).attempt_number == 1


def test_failures_follow_retry_schedule_until_job_is_dead(
    ledger: Ledger, database: Database, job_id: UUID
) -> None:
    delays = []
    for attempt in range(1, 5):
        claim = claim_job(ledger, job_id)
        assert claim.attempt_number == attempt
        delays.append(ledger.fail(claim, Failure(FailureKind.TRANSIENT, f"error {attempt}", "Traceback ...")))
        job = database.job(job_id)
        if attempt < 4:
            assert job["state"] == "retrying"
            publish(database, job_id)

    assert delays == [timedelta(seconds=60), timedelta(seconds=120), timedelta(seconds=240), None]
    assert (job["state"], job["last_error"]) == ("dead", "error 4")
    rows = [(row["attempt"], row["error"], row["worker"]) for row in database.failures(job_id)]
    assert rows == [(attempt, f"error {attempt}", "w@host") for attempt in range(1, 5)]


def test_permanent_failure_is_not_retried(ledger: Ledger, database: Database, job_id: UUID) -> None:
    assert ledger.fail(claim_job(ledger, job_id), Failure(FailureKind.PERMANENT, "refused\x00")) is None

    job = database.job(job_id)
    assert (job["state"], job["last_error"]) == ("dead", "refused")


def test_paused_job_is_no_probe_of_circuit_breaker(engine: Engine, database: Database, job_id: UUID) -> None:
    circuits = Circuits(sessionmaker(engine))
    for _ in range(THRESHOLD):
        circuits.record_failure("a-provider", "a-provider", "away")
    database.query("UPDATE circuit SET open_until = now() - interval '1 s'")
    database.pause("queue", "issues")

    assert circuits.open_until("a-provider", job_id) is None
    assert database.one("SELECT open_until < now() FROM circuit"), "the probe must be available"

    database.query("DELETE FROM pause")
    circuits.open_until("a-provider", job_id)
    assert database.one("SELECT open_until > now() FROM circuit")


def test_released_probe_of_circuit_breaker_is_available_again(
    engine: Engine, job_id: UUID, database: Database
) -> None:
    circuits = Circuits(sessionmaker(engine))
    for _ in range(THRESHOLD):
        circuits.record_failure("a-provider", "a-provider", "away")
    database.query("UPDATE circuit SET open_until = now() - interval '1 s'")
    assert circuits.open_until("a-provider", job_id) is None, "the first probe must be allowed"
    assert circuits.open_until("a-provider", job_id) is not None

    circuits.release_probe("a-provider")

    assert circuits.open_until("a-provider", job_id) is None, "another probe must be allowed"
