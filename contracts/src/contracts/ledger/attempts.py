"""The transitions of a worker. Each expression is built once, because building one costs more than running it.

    queued   --CLAIM-->    running     (attempt n starts)
    queued   --DEFER-->    pending     (paused, or the circuit breaker is open)
    running  --COMPLETE--> succeeded | skipped   (with the task's effect, in one transaction)
    running  --FAIL-->     retrying | dead

Parameters: `job` is the job's id; `attempt` and `holder` fence an attempt's writes. The others are named after
their columns.
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Double,
    Interval,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute

from contracts.ledger.pauses import IS_NOT_PAUSED
from contracts.states import JobState
from contracts.tables import Job, JobFailure


def _seconds_since(then: InstrumentedAttribute[Any]) -> ColumnElement[float]:
    """Return the seconds since then, by the clock of the database, which all machines share."""
    return cast(func.extract("epoch", func.now() - then), Double)


def _after(name: str) -> ColumnElement[Any]:
    """Return the current time plus a parameter of type timedelta."""
    return func.now() + bindparam(name, type_=Interval())


# Without the label, the rows of a connection use the name of the column, `tries`.
_ATTEMPTS_SINCE_REPLAY = Job.attempts_since_replay.label("attempts_since_replay")

_IS_JOB = Job.id == bindparam("job")
_IS_QUEUED = _IS_JOB & (Job.state == JobState.QUEUED)
_IS_CLAIMABLE = (_IS_QUEUED, text(IS_NOT_PAUSED))
_IS_RUNNING = _IS_JOB & (Job.state == JobState.RUNNING)
_IS_MINE = _IS_RUNNING & (Job.attempts == bindparam("attempt")) & (Job.worker == bindparam("holder"))

CLAIM = (
    update(Job)
    .where(*_IS_CLAIMABLE)
    .values(
        state=JobState.RUNNING,
        attempts=Job.attempts + 1,
        attempts_since_replay=Job.attempts_since_replay + 1,
        worker=bindparam("holder"),
        started_at=func.now(),
        lease_until=_after("lease"),
        rejected_since=None,
    )
    .returning(
        Job.attempts,
        _ATTEMPTS_SINCE_REPLAY,
        Job.queue,
        _seconds_since(Job.queued_at).label("waited_s"),
        # Commit without waiting for the disk, in this transaction only. If a crash of the server loses the claim,
        # the job is claimed again, and the fence rejects the writes of the first attempt.
        func.set_config("synchronous_commit", "off", True),
    )
)

DEFER = (
    update(Job)
    .where(_IS_QUEUED)
    .values(
        state=JobState.PENDING,
        run_at=func.coalesce(bindparam("until", type_=DateTime(timezone=True)), Job.run_at),
        lease_until=None,
        queued_at=None,
    )
    .returning(Job.id)
)
"""Return a published job to the ledger without an attempt. Without `until`, it keeps its scheduled time."""

FIND_RUNNING = select(
    Job.attempts, _ATTEMPTS_SINCE_REPLAY, Job.queue, Job.worker, _seconds_since(Job.started_at).label("ran_s")
).where(_IS_RUNNING)

JOB_EXISTS = select(Job.id).where(_IS_JOB)
CLAIMABLE_JOB_EXISTS = select(Job.id).where(*_IS_CLAIMABLE).exists()

COMPLETE = (
    update(Job)
    .where(_IS_MINE)
    .values(state=bindparam("end"), finished_at=func.now(), lease_until=None, last_error=None)
    .returning(_seconds_since(Job.created_at))
)

_END = bindparam("end", type_=Text())
FAIL = (
    update(Job)
    .where(_IS_MINE)
    .values(
        state=_END,
        run_at=_after("delay"),
        finished_at=case((_END == JobState.DEAD, func.now())),
        lease_until=None,
        last_error=bindparam("error", type_=Text()),
    )
    .returning(Job.id)
)

INSERT_FAILURE = insert(JobFailure).from_select(
    ["job_id", "attempt", "kind", "worker", "error", "traceback", "started_at"],
    select(
        Job.id,
        Job.attempts,
        bindparam("kind", type_=Text()),
        Job.worker,
        bindparam("error", type_=Text()),
        bindparam("traceback", type_=Text()),
        Job.started_at,
    ).where(_IS_JOB),
)
