"""The ledger's moves that a worker makes, each one transaction.

    queued   --claim-->   running     (attempt n begins)
    running  --finish-->  succeeded | skipped   (with the task's effect, in one transaction)
    running  --fail-->    retrying | dead

Every write of attempt n asks that the job is still running attempt n, and on this worker's account: a worker
that lost its lease meanwhile, and wakes, changes nothing. Neither does one whose claim a crash of the database
forgot, although the next attempt has its number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from app.ledger import statements
from contracts.retry import delay_after
from contracts.states import FailureKind, JobState

Effect = Callable[[Connection], None]
"""Writes a task's result over the given connection; the ledger commits it together with the job's end."""

ERROR_MAX = 1000
"""Characters of an error that are kept; the traceback has the rest."""


class LeaseLost(Exception):
    """The job is no longer this attempt's: what it made is thrown away."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The attempt of a job that a worker runs."""

    job_id: UUID
    attempt_number: int
    """Counts all attempts of the job; fences the writes of this one."""
    attempts_since_replay: int
    """Counts the attempts since the job was created or last replayed; the retry schedule uses it."""
    holder: str
    """The worker's process that made it."""
    queue: str = ""
    waited_s: float | None = None
    """Seconds from the publication of its message to the beginning of the attempt, where it is known."""
    ran_s: float = 0
    """Seconds since the attempt began, when it was looked up."""

    @property
    def fence(self) -> dict[str, Any]:
        """The parameters of a write that only this attempt may make."""
        return {"job": self.job_id, "attempt": self.attempt_number, "holder": self.holder}


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed."""

    kind: FailureKind
    error: str
    traceback: str | None = None
    retry_after: timedelta = timedelta()
    """How long the next attempt is to wait at least."""


class Ledger:
    """The ledger's moves, over an engine."""

    def __init__(self, engine: Engine, worker: str, lease: timedelta, retry_delays: Sequence[float]) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._worker = worker
        self._lease = lease
        self._retry_delays = retry_delays

    def claim(self, job_id: UUID) -> Claim | None:
        """Begin an attempt; None when the job is not queued: claimed, done, or waiting for its retry."""
        with self._autocommit.connect() as connection:
            row = connection.execute(
                statements.CLAIM, {"job": job_id, "holder": self._worker, "lease": self._lease}
            ).one_or_none()
        if row is None:
            return None
        return Claim(
            job_id, row.attempts, row.attempts_since_replay, self._worker, row.queue, waited_s=row.waited_s
        )

    def defer(self, job_id: UUID, until: datetime) -> bool:
        """Give a queued job back unread: it is due again at `until`, and no attempt is counted.

        False when it is not queued.
        """
        with self._autocommit.connect() as connection:
            return connection.scalar(statements.DEFER, {"job": job_id, "until": until}) is not None

    def find_running(self, job_id: UUID, worker: str) -> Claim | None:
        """Return the attempt of the job that a worker runs whose name begins so; None when it runs none."""
        with self._autocommit.connect() as connection:
            row = connection.execute(statements.FIND_RUNNING, {"job": job_id}).one_or_none()
        if row is None or not row.worker.startswith(worker):
            return None
        return Claim(job_id, row.attempts, row.attempts_since_replay, row.worker, row.queue, ran_s=row.ran_s or 0)

    def has_job(self, job_id: UUID) -> bool:
        """Tell whether there is such a job, in whatever state."""
        with self._autocommit.connect() as connection:
            return connection.scalar(statements.JOB_EXISTS, {"job": job_id}) is not None

    def renew(self, claim: Claim) -> bool:
        """Extend the lease; False when the job is no longer this attempt's."""
        with self._autocommit.connect() as connection:
            renewed = connection.scalar(statements.RENEW, {**claim.fence, "lease": self._lease})
        return renewed is not None

    def finish(self, claim: Claim, state: JobState, effect: Effect | None = None) -> float:
        """End the job, and write the task's effect in the same transaction; raise LeaseLost instead of both.

        Return the job's age in seconds.
        """
        with self._engine.begin() as connection:
            # First the job: its row lock and its fence come before any write that they protect.
            age_s: float | None = connection.scalar(statements.FINISH, {**claim.fence, "end": state})
            if age_s is None:
                raise LeaseLost
            if effect is not None:
                effect(connection)
        return age_s

    def fail(self, claim: Claim, failure: Failure) -> timedelta | None:
        """End the attempt; return how long until the next one, None when the job is dead."""
        delay = (
            None
            if failure.kind is FailureKind.PERMANENT
            else delay_after(claim.attempts_since_replay, self._retry_delays)
        )
        if delay is not None:
            delay = max(delay, failure.retry_after)
        error = _storable(failure.error)[:ERROR_MAX]
        traceback = None if failure.traceback is None else _storable(failure.traceback)
        end = JobState.DEAD if delay is None else JobState.RETRYING
        with self._engine.begin() as connection:
            failed = connection.scalar(
                statements.FAIL, {**claim.fence, "end": end, "delay": delay or timedelta(), "error": error}
            )
            if failed is None:
                raise LeaseLost
            connection.execute(
                statements.INSERT_FAILURE,
                {"job": claim.job_id, "kind": failure.kind.value, "error": error, "traceback": traceback},
            )
        return delay


def _storable(text: str) -> str:
    """Return the text without what PostgreSQL cannot store: NUL, and halves of characters."""
    return text.replace("\x00", "").encode(errors="replace").decode()
