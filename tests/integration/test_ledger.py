"""The worker's moves in the ledger: claimed once, fenced by attempt, failed by the schedule."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import sessionmaker

from app.ledger.circuit import Circuits
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
    """A job whose message has been published."""
    job_id = database.add_job("tests.task")
    publish(database, job_id)
    return job_id


def publish(database: Database, job_id: UUID) -> None:
    database.query("UPDATE job SET state = 'queued', lease_until = now() + interval '30 s' WHERE id = %s", job_id)


def claimed(ledger: Ledger, job_id: UUID) -> Claim:
    claim = ledger.claim(job_id)
    assert claim is not None
    return claim


def take_over(database: Database, ledger: Ledger, job_id: UUID) -> Claim:
    """What happens to a job whose worker is thought dead: the dispatcher publishes it, another claims it."""
    publish(database, job_id)
    return claimed(ledger, job_id)


def mark(job_id: UUID, attempt: int):
    def effect(connection: Connection) -> None:
        connection.execute(text("INSERT INTO effect VALUES (:job, :attempt)"), {"job": job_id, "attempt": attempt})

    return effect


def assert_refused(ledger: Ledger, claim: Claim) -> None:
    assert not ledger.renew(claim)
    with pytest.raises(LeaseLost):
        ledger.finish(claim, JobState.SUCCEEDED, mark(claim.job_id, claim.attempt_number))
    with pytest.raises(LeaseLost):
        ledger.fail(claim, Failure(FailureKind.BUG, "late"))


def test_only_a_claim_does_not_wait_for_the_disk(ledger: Ledger, database: Database, job_id: UUID) -> None:
    """A trigger that fires as each transaction commits tells what that waits for."""
    database.query("""
        CREATE TABLE told (at serial, state text, waits text);
        CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO told (state, waits) VALUES (NEW.state, current_setting('synchronous_commit'));
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER tell AFTER UPDATE ON job DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION tell()
    """)
    try:
        claim = claimed(ledger, job_id)
        assert ledger.renew(claim)
        ledger.finish(claim, JobState.SUCCEEDED)
        told = database.query("SELECT state, waits FROM told ORDER BY at")
    finally:
        database.query("DROP TRIGGER tell ON job; DROP FUNCTION tell(); DROP TABLE told")

    assert [tuple(row.values()) for row in told] == [("running", "off"), ("running", "on"), ("succeeded", "on")]


def test_a_job_is_claimed_once(ledger: Ledger, database: Database, job_id: UUID) -> None:
    claim = claimed(ledger, job_id)

    assert (claim.attempt_number, claim.attempts_since_replay) == (1, 1)
    assert ledger.claim(job_id) is None
    job = database.job(job_id)
    assert (job["state"], job["attempts"], job["worker"]) == ("running", 1, "w@host")
    assert job["lease_until"] > job["started_at"]


def test_a_job_that_waits_for_its_retry_is_not_claimed_by_an_old_message(ledger: Ledger, job_id: UUID) -> None:
    ledger.fail(claimed(ledger, job_id), Failure(FailureKind.TRANSIENT, "ConnectionError: away"))

    assert ledger.claim(job_id) is None


def test_effect_and_end_are_one(ledger: Ledger, database: Database, job_id: UUID) -> None:
    ledger.finish(claimed(ledger, job_id), JobState.SUCCEEDED, mark(job_id, 1))

    job = database.job(job_id)
    assert (job["state"], job["lease_until"]) == ("succeeded", None)
    assert job["finished_at"] is not None
    assert database.one("SELECT count(*) FROM effect") == 1


def test_an_effect_that_fails_leaves_the_job_running(ledger: Ledger, database: Database, job_id: UUID) -> None:
    def effect(connection: Connection) -> None:
        mark(job_id, 1)(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.finish(claimed(ledger, job_id), JobState.SUCCEEDED, effect)

    assert database.job(job_id)["state"] == "running"
    assert database.one("SELECT count(*) FROM effect") == 0


def test_a_worker_that_lost_its_lease_writes_nothing(ledger: Ledger, database: Database, job_id: UUID) -> None:
    zombie = claimed(ledger, job_id)
    heir = take_over(database, ledger, job_id)

    assert_refused(ledger, zombie)
    ledger.finish(heir, JobState.SUCCEEDED, mark(job_id, 2))
    with pytest.raises(LeaseLost):
        ledger.finish(zombie, JobState.SUCCEEDED, mark(job_id, 1))

    assert database.query("SELECT attempt FROM effect") == [{"attempt": 2}]
    assert database.failures(job_id) == []


def test_a_worker_whose_claim_the_database_forgot_writes_nothing(
    engine: Engine, database: Database, job_id: UUID
) -> None:
    """A claim waits for no disk: after a crash the job is queued again, and the next attempt has its number."""
    ledger, other = get_ledger(engine, "w@host/1"), get_ledger(engine, "w@host/2")
    before = database.job(job_id)
    forgotten = claimed(ledger, job_id)
    columns = ("state", "attempts", "tries", "worker", "started_at", "lease_until")
    database.query(
        f"UPDATE job SET {', '.join(f'{name} = %s' for name in columns)} WHERE id = %s",
        *(before[name] for name in columns),
        job_id,
    )
    heir = claimed(other, job_id)
    assert heir.attempt_number == forgotten.attempt_number

    assert_refused(ledger, forgotten)
    other.finish(heir, JobState.SUCCEEDED, mark(job_id, 2))

    assert database.query("SELECT attempt FROM effect") == [{"attempt": 2}]


def test_renewal_extends_the_lease(ledger: Ledger, database: Database, job_id: UUID) -> None:
    claim = claimed(ledger, job_id)
    database.query("UPDATE job SET lease_until = now() + interval '1 s' WHERE id = %s", job_id)
    before = database.job(job_id)["lease_until"]

    assert ledger.renew(claim)

    assert database.job(job_id)["lease_until"] > before + timedelta(seconds=20)


def test_failures_follow_the_schedule_and_end_dead(ledger: Ledger, database: Database, job_id: UUID) -> None:
    delays = []
    for attempt in range(1, 5):
        claim = claimed(ledger, job_id)
        assert claim.attempt_number == attempt
        delays.append(ledger.fail(claim, Failure(FailureKind.TRANSIENT, f"error {attempt}", "Traceback ...")))
        job = database.job(job_id)
        if attempt < 4:
            assert job["state"] == "retrying"
            publish(database, job_id)

    assert delays == [timedelta(seconds=60), timedelta(seconds=120), timedelta(seconds=240), None]
    assert (job["state"], job["last_error"]) == ("dead", "error 4")
    told = [(row["attempt"], row["error"], row["worker"]) for row in database.failures(job_id)]
    assert told == [(attempt, f"error {attempt}", "w@host") for attempt in range(1, 5)]


def test_a_permanent_failure_is_not_tried_again(ledger: Ledger, database: Database, job_id: UUID) -> None:
    assert ledger.fail(claimed(ledger, job_id), Failure(FailureKind.PERMANENT, "refused\x00")) is None

    job = database.job(job_id)
    assert (job["state"], job["last_error"]) == ("dead", "refused")


def test_a_probe_that_has_asked_nothing_leaves_its_turn_to_the_next(
    engine: Engine, job_id: UUID, database: Database
) -> None:
    circuits = Circuits(sessionmaker(engine), 1, timedelta(hours=1))
    circuits.record_failure("a-provider", "a-provider", "away")
    database.query("UPDATE circuit SET open_until = now() - interval '1 s'")
    assert circuits.open_until("a-provider", job_id) is None, "the probe"
    assert circuits.open_until("a-provider", job_id) is not None

    circuits.release_probe("a-provider")

    assert circuits.open_until("a-provider", job_id) is None, "another one"
