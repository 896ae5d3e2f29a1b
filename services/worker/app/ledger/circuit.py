"""A circuit breaker for each task that uses a provider. All workers share it through PostgreSQL.

    closed --THRESHOLD failures in a row--> open --PAUSE_S--> one probe --success--> closed
                                              ^                   |
                                              +------failure------+

While it is open, the dispatcher does not publish the task's jobs. A job that is already published is requeued
before an attempt is counted.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import case, delete, func, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from contracts.ledger.attempts import CLAIMABLE_JOB_EXISTS
from contracts.tables import Circuit

THRESHOLD = 5
"""Consecutive failures of a provider that open its circuit."""
PAUSE_S = 30.0
"""Interval of probes in seconds while a circuit is open."""


class Circuits:
    """All circuit breakers."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions

    def open_until(self, task: str, job_id: UUID) -> datetime | None:
        """Return until when the task's jobs must wait, or None if this job may run.

        A job may run if the circuit is closed, or as the probe. Only a queued job that is not paused can be the
        probe.
        """
        probe = (
            update(Circuit)
            .where(Circuit.task == task, Circuit.open_until <= func.now(), CLAIMABLE_JOB_EXISTS)
            .values(open_until=func.now() + timedelta(seconds=PAUSE_S))
            .returning(Circuit.task)
        )
        waiting = select(Circuit.open_until).where(Circuit.task == task, Circuit.open_until > func.now())
        with self._sessions.begin() as session:
            if session.scalar(probe, {"job": job_id}) is not None:
                return None
            return session.scalar(waiting)

    def record_success(self, task: str) -> None:
        """Close the task's circuit."""
        with self._sessions.begin() as session:
            session.execute(delete(Circuit).where(Circuit.task == task))

    def release_probe(self, task: str) -> None:
        """Allow another job to be the probe, because this job ended without a request to the provider."""
        with self._sessions.begin() as session:
            session.execute(
                update(Circuit)
                .where(Circuit.task == task, Circuit.open_until.is_not(None))
                .values(open_until=func.now())
            )

    def record_failure(self, task: str, provider: str, error: str) -> None:
        """Count a failure of the provider, and open the circuit after THRESHOLD consecutive failures."""
        failures = Circuit.failures + 1
        pause_ends = func.now() + timedelta(seconds=PAUSE_S)
        first = insert(Circuit).values(
            task=task,
            provider=provider,
            failures=1,
            last_error=error,
            open_until=pause_ends if THRESHOLD == 1 else null(),
        )
        count = first.on_conflict_do_update(
            index_elements=[Circuit.task],
            set_={
                "provider": provider,
                "failures": failures,
                "last_error": error,
                "open_until": case((failures >= THRESHOLD, pause_ends), else_=null()),
            },
        )
        with self._sessions.begin() as session:
            session.execute(count)
