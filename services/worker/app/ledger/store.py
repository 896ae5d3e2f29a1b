"""The state transitions that a worker makes in the ledger, each in one transaction.

    queued   --claim-->   running     (attempt n starts)
    running  --complete-->  succeeded | skipped   (with the task's effect, in one transaction)
    running  --fail-->    retrying | dead
    running  --release--> pending     (a job of a batch that was not started)

Every write of attempt n requires that the job is still running attempt n on this worker. A worker that lost its
lease therefore changes nothing. The same is true for a worker whose claim was lost in a crash of the database,
although the next attempt has the same number.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from contracts.ledger import attempts, batches
from contracts.ledger.statement import Statement
from contracts.ledger.states import DEAD, RETRYING
from contracts.retry import delay_after
from contracts.states import FailureKind, JobState

Effect = Callable[[Connection], None]
"""Writes the result of a task over the given connection. The ledger commits it together with the job's end."""

BatchEffect = Callable[[Connection, Collection[UUID]], None]
"""Writes the results of the jobs with these ids."""

ERROR_MAX = 1000
"""Maximum characters of a stored error. The traceback contains the full message."""


class LeaseLost(Exception):
    """The attempt no longer owns the job, and its result is discarded."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The attempt of a job that a worker runs."""

    job_id: UUID
    attempt_number: int
    """Counts all attempts of the job, and fences the writes of this attempt."""
    attempts_since_replay: int
    """Counts the attempts since the job was created or last replayed. The retry schedule uses it."""
    holder: str
    """The worker process that runs the attempt."""
    queue: str = ""
    waited_s: float | None = None
    """Seconds from the publication of the message to the start of the attempt, if known."""
    ran_s: float = 0
    """Seconds from the start of the attempt to the time when this object was read."""
    due: int = 0
    """Further due jobs of the queue, up to the number that the claim requested."""

    @property
    def fence(self) -> dict[str, Any]:
        """The parameters that restrict a write to this attempt."""
        return {"job": self.job_id, "attempt": self.attempt_number, "holder": self.holder}


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure of an attempt."""

    kind: FailureKind
    error: str
    traceback: str | None = None
    retry_after: timedelta = timedelta()
    """The minimum delay before the next attempt."""


class Ledger:
    """The state transitions of the ledger, over an engine."""

    def __init__(self, engine: Engine, worker: str, lease: timedelta, retry_delays: Sequence[float]) -> None:
        self.engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.holder = worker
        self.lease = lease
        self._retry_delays = retry_delays

    def claim(self, job_id: UUID, due_max: int = 0) -> Claim | None:
        """Start an attempt; count further due jobs of its queue, up to `due_max`.

        Return None if the job is paused, or not queued: it is claimed, done, or waits for its retry.
        """
        claim = _claim_lead(due_max).expression if due_max else attempts.CLAIM
        with self._autocommit.connect() as connection:
            row = connection.execute(
                claim, {"job": job_id, "holder": self.holder, "lease": self.lease}
            ).one_or_none()
        if row is None:
            return None
        return Claim(
            job_id,
            row.attempts,
            row.attempts_since_replay,
            self.holder,
            row.queue,
            waited_s=row.waited_s,
            due=row.due if due_max else 0,
        )

    def defer(self, job_id: UUID, until: datetime | None = None) -> bool:
        """Return a queued job to the ledger without counting an attempt; return False if it is not queued.

        The job is scheduled for `until`, or keeps its scheduled time.
        """
        with self._autocommit.connect() as connection:
            return connection.scalar(attempts.DEFER, {"job": job_id, "until": until}) is not None

    def find_running(self, job_id: UUID, worker: str) -> Claim | None:
        """Return the running attempt of the job if its worker's name starts with `worker`, else None."""
        with self._autocommit.connect() as connection:
            row = connection.execute(attempts.FIND_RUNNING, {"job": job_id}).one_or_none()
        if row is None or not row.worker.startswith(worker):
            return None
        return Claim(job_id, row.attempts, row.attempts_since_replay, row.worker, row.queue, ran_s=row.ran_s or 0)

    def has_job(self, job_id: UUID) -> bool:
        """Return whether the job exists, in any state."""
        with self._autocommit.connect() as connection:
            return connection.scalar(attempts.JOB_EXISTS, {"job": job_id}) is not None

    def renew(self, claims: Sequence[Claim]) -> int:
        """Extend the leases of claims with the same holder and attempt; return how many own their job."""
        with self._autocommit.connect() as connection:
            renewed = connection.execute(
                batches.RENEW.expression,
                {
                    "ids": [str(claim.job_id) for claim in claims],
                    "attempt": claims[0].attempt_number,
                    "holder": claims[0].holder,
                    "lease": self.lease,
                },
            )
            return len(renewed.all())

    def release(self, job_ids: Collection[UUID], holder: str) -> int:
        """Return jobs of a batch that were not started to the ledger; return their number."""
        with self._autocommit.connect() as connection:
            released = connection.execute(
                batches.RELEASE.expression,
                {
                    "ids": [str(job_id) for job_id in job_ids],
                    "attempt": batches.FIRST_ATTEMPT,
                    "holder": holder,
                },
            )
            return len(released.all())

    def complete_batch(
        self,
        ended: Collection[UUID],
        skipped: Collection[UUID],
        effect: BatchEffect,
    ) -> dict[UUID, float]:
        """End jobs of a batch and write their effects, in one transaction; return the age of each in seconds.

        Jobs that their attempts no longer own are missing in the result, and in the argument of `effect`.
        """
        with self.engine.begin() as connection:
            rows = connection.execute(
                batches.COMPLETE_BATCH.expression,
                {
                    "ids": [str(job_id) for job_id in (*ended, *skipped)],
                    "skipped": [str(job_id) for job_id in skipped],
                    "attempt": batches.FIRST_ATTEMPT,
                    "holder": self.holder,
                },
            ).all()
            ages = {row.id: row.age_s for row in rows}
            effect(connection, ages.keys())
        return ages

    def complete(self, claim: Claim, state: JobState, effect: Effect | None = None) -> float:
        """End the job and write the task's effect, in one transaction; return the job's age in seconds.

        Raises LeaseLost, without any write, if the attempt no longer owns the job.
        """
        with self.engine.begin() as connection:
            # The job comes first, because its row lock and its fence protect the other writes.
            age_s: float | None = connection.scalar(attempts.COMPLETE, {**claim.fence, "end": state})
            if age_s is None:
                raise LeaseLost
            if effect is not None:
                effect(connection)
        return age_s

    def fail(self, claim: Claim, failure: Failure) -> timedelta | None:
        """End the attempt; return the delay before the next attempt, or None if the job is dead."""
        delay = (
            None
            if failure.kind is FailureKind.PERMANENT
            else delay_after(claim.attempts_since_replay, self._retry_delays)
        )
        if delay is not None:
            delay = max(delay, failure.retry_after)
        error = _storable(failure.error)[:ERROR_MAX]
        traceback = None if failure.traceback is None else _storable(failure.traceback)
        end = DEAD if delay is None else RETRYING
        with self.engine.begin() as connection:
            failed = connection.scalar(
                attempts.FAIL, {**claim.fence, "end": end, "delay": delay or timedelta(), "error": error}
            )
            if failed is None:
                raise LeaseLost
            connection.execute(
                attempts.INSERT_FAILURE,
                {"job": claim.job_id, "kind": failure.kind.value, "error": error, "traceback": traceback},
            )
        return delay


@cache
def _claim_lead(due_max: int) -> Statement:
    return batches.claim_lead(due_max)


def _storable(text: str) -> str:
    """Return the text without characters that PostgreSQL cannot store: NUL and lone surrogates."""
    return text.replace("\x00", "").encode(errors="replace").decode()
