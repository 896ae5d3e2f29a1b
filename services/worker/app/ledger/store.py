"""The ledger's moves that a worker makes, each one transaction.

    queued   --claim-->   running     (attempt n begins)
    running  --finish-->  succeeded | skipped   (with the task's effect, in one transaction)
    running  --fail-->    retrying | dead

Every write of attempt n asks that the job is still running attempt n: a worker that lost its lease
meanwhile, and wakes, changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Double, SelectBase, Text, cast, func, insert, literal, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session, sessionmaker

from contracts.retry import delay_after
from contracts.states import FailureKind, JobState
from contracts.tables import Job, JobFailure

Effect = Callable[[Session], None]
"""Writes a task's result with the given session; the ledger commits it together with the job's end."""

ERROR_MAX = 1000
"""Characters of an error that are kept; the traceback has the rest."""


class LeaseLost(Exception):
    """The job is no longer this attempt's: what it made is thrown away."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker runs: attempt number `attempt` in all, `tries` since its last replay."""

    job_id: UUID
    attempt: int
    tries: int
    queue: str = ""
    waited_s: float | None = None
    """Seconds from the publication of its message to the beginning of the attempt, where it is known."""
    ran_s: float = 0
    """Seconds since the attempt began, when it was looked up."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed."""

    kind: FailureKind
    error: str
    traceback: str | None = None
    retry_after: timedelta = timedelta()
    """How long the next attempt is to wait at least."""


class Ledger:
    """The ledger's moves, over a session factory."""

    def __init__(
        self, sessions: sessionmaker[Session], worker: str, lease: timedelta, retry_delays: Sequence[float]
    ) -> None:
        self._sessions = sessions
        self._worker = worker
        self._lease = lease
        self._retry_delays = retry_delays

    def claim(self, job_id: UUID) -> Claim | None:
        """Begin an attempt; None when the job is not queued: claimed, done, or waiting for its retry."""
        begin = (
            update(Job)
            .where(Job.id == job_id, Job.state == JobState.QUEUED)
            .values(
                state=JobState.RUNNING,
                attempts=Job.attempts + 1,
                tries=Job.tries + 1,
                worker=self._worker,
                started_at=func.now(),
                lease_until=func.now() + self._lease,
                refused_since=None,
            )
            .returning(
                Job.attempts,
                Job.tries,
                Job.queue,
                _seconds_since(Job.queued_at).label("waited_s"),
                # Waits for no disk: a claim that a crash of the server forgets is made again, and the fence then
                # refuses what came of the first. Only this transaction's commit; every other is waited for.
                func.set_config("synchronous_commit", "off", True),
            )
        )
        with self._sessions() as session:
            alone(session)
            row = session.execute(begin).one_or_none()
        if row is None:
            return None
        return Claim(job_id, row.attempts, row.tries, row.queue, waited_s=row.waited_s)

    def defer(self, job_id: UUID, until: datetime) -> None:
        """Give a queued job back unread: it is due again at `until`, and no attempt is counted."""
        give_back = (
            update(Job)
            .where(Job.id == job_id, Job.state == JobState.QUEUED)
            .values(state=JobState.PENDING, run_at=until, lease_until=None, queued_at=None)
        )
        with self._sessions.begin() as session:
            session.execute(give_back)

    def held(self, job_id: UUID, worker: str) -> Claim | None:
        """Return the attempt of the job that a worker runs whose name begins so; None when it runs none."""
        ran = _seconds_since(Job.started_at).label("ran_s")
        mine = select(Job.attempts, Job.tries, Job.queue, ran).where(
            Job.id == job_id, Job.state == JobState.RUNNING, Job.worker.startswith(worker, autoescape=True)
        )
        with self._sessions() as session:
            row = session.execute(mine).one_or_none()
        return None if row is None else Claim(job_id, row.attempts, row.tries, row.queue, ran_s=row.ran_s or 0)

    def knows(self, job_id: UUID) -> bool:
        """Tell whether there is such a job, in whatever state."""
        with self._sessions() as session:
            return session.scalar(select(Job.id).where(Job.id == job_id)) is not None

    def renew(self, claim: Claim) -> bool:
        """Extend the lease; False when the job is no longer this attempt's."""
        with self._sessions() as session:
            alone(session)
            return _move(session, claim, lease_until=func.now() + self._lease) is not None

    def finish(self, claim: Claim, state: JobState, effect: Effect | None = None) -> float:
        """End the job, and write the task's effect in the same transaction; raise LeaseLost instead of both.

        Return the job's age in seconds.
        """
        with self._sessions.begin() as session:
            # First the job: its row lock and its fence come before any write that they protect.
            age = _move(session, claim, state=state, finished_at=func.now(), lease_until=None, last_error=None)
            if age is None:
                raise LeaseLost
            if effect is not None:
                effect(session)
        return age

    def fail(self, claim: Claim, failure: Failure) -> timedelta | None:
        """End the attempt; return how long until the next one, None when the job is dead."""
        delay = None if failure.kind is FailureKind.PERMANENT else delay_after(claim.tries, self._retry_delays)
        if delay is not None:
            delay = max(delay, failure.retry_after)
        error = _storable(failure.error)[:ERROR_MAX]
        with self._sessions.begin() as session:
            age = _move(
                session,
                claim,
                state=JobState.DEAD if delay is None else JobState.RETRYING,
                run_at=func.now() + (delay or timedelta()),
                finished_at=func.now() if delay is None else None,
                lease_until=None,
                last_error=error,
            )
            if age is None:
                raise LeaseLost
            session.execute(insert(JobFailure).from_select(_FAILURE_COLUMNS, _failure_row(claim, failure, error)))
        return delay


def alone(session: Session) -> None:
    """Make each statement of the session its own transaction: one round trip where BEGIN and COMMIT make three."""
    session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})


def _storable(text: str) -> str:
    """Return the text without what PostgreSQL cannot store: NUL, and halves of characters."""
    return text.replace("\x00", "").encode(errors="replace").decode()


_FAILURE_COLUMNS = ["job_id", "attempt", "kind", "worker", "error", "traceback", "started_at"]


def _failure_row(claim: Claim, failure: Failure, error: str) -> SelectBase:
    traceback = None if failure.traceback is None else _storable(failure.traceback)
    return select(
        Job.id,
        Job.attempts,
        literal(failure.kind.value),
        Job.worker,
        literal(error),
        literal(traceback, Text()),
        Job.started_at,
    ).where(Job.id == claim.job_id)


def _is_mine(claim: Claim) -> ColumnElement[bool]:
    return (Job.id == claim.job_id) & (Job.state == JobState.RUNNING) & (Job.attempts == claim.attempt)


def _move(session: Session, claim: Claim, **values: Any) -> float | None:
    """Write the job's row; return its age in seconds, None when it is no longer this attempt's."""
    written = update(Job).where(_is_mine(claim)).values(**values)
    age: float | None = session.scalar(written.returning(_seconds_since(Job.created_at)))
    return age


def _seconds_since(then: InstrumentedAttribute[Any]) -> ColumnElement[float]:
    """Return how long ago that was: by the database's clock, which all machines share."""
    return cast(func.extract("epoch", func.now() - then), Double)
