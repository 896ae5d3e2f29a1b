"""The sets of job states, as Python sets, SQL conditions and predicates."""

from collections.abc import Collection

from contracts.states import JobState

WAITING_STATES = frozenset({JobState.PENDING, JobState.RETRYING})
"""Jobs that the dispatcher publishes when their `run_at` has passed."""
LEASED_STATES = frozenset({JobState.QUEUED, JobState.RUNNING})
"""Jobs that a message or a worker owns. Each has a lease."""
UNFINISHED_STATES = WAITING_STATES | LEASED_STATES
ENDED_STATES = frozenset({JobState.SUCCEEDED, JobState.SKIPPED, JobState.CANCELLED})
"""Jobs that have ended permanently. A dead job has not: it waits for a person's decision."""
REPORTED_STATES = (JobState.PENDING, JobState.QUEUED, JobState.RUNNING, JobState.RETRYING, JobState.DEAD)
"""States of jobs that are unfinished or dead, in the order of a job's life."""

INITIAL = JobState.PENDING
"""The state of a new job."""
SUCCEEDED, SKIPPED, DEAD, RETRYING = JobState.SUCCEEDED, JobState.SKIPPED, JobState.DEAD, JobState.RETRYING
"""The states in which an attempt ends."""


def condition(states: Collection[JobState], column: str = "state") -> str:
    """Return the SQL condition that a job is in one of the states.

    The states are literals, so that the planner can use the partial indexes.
    """
    return f"{column} IN ({', '.join(repr(state.value) for state in sorted(states))})"


IS_WAITING = condition(WAITING_STATES)
IS_LEASED = condition(LEASED_STATES)
IS_UNFINISHED = condition(UNFINISHED_STATES)
IS_ENDED = condition(ENDED_STATES)
IS_DEAD = condition({JobState.DEAD})
IS_PUBLISHED = condition({JobState.QUEUED})
"""SQL: a message of the job waits in its queue."""

ERROR = f"CASE WHEN state <> '{JobState.SUCCEEDED}' THEN last_error END"
"""SQL: the last error of a job that has not succeeded since."""
NEXT_ATTEMPT_AT = f"CASE WHEN {IS_WAITING} THEN run_at END"
"""SQL: when a waiting job is due."""


def is_running(state: str) -> bool:
    """Return whether a worker runs the job."""
    return state == JobState.RUNNING


def is_waiting(state: str) -> bool:
    """Return whether the job waits to be published."""
    return state in WAITING_STATES


def is_retrying(state: str) -> bool:
    """Return whether the job waits for another attempt after a failure."""
    return state == JobState.RETRYING


def is_dead(state: str) -> bool:
    """Return whether the job waits for a person's decision."""
    return state == JobState.DEAD


def is_cancelled(state: str) -> bool:
    """Return whether a person cancelled the job."""
    return state == JobState.CANCELLED


def has_succeeded(state: str) -> bool:
    """Return whether the job's effect is written."""
    return state == JobState.SUCCEEDED
