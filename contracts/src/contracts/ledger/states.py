"""The states of jobs that other modules use, the sets of states, and SQL conditions."""

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

PENDING, RUNNING, RETRYING = JobState.PENDING, JobState.RUNNING, JobState.RETRYING
SUCCEEDED, SKIPPED, DEAD, CANCELLED = JobState.SUCCEEDED, JobState.SKIPPED, JobState.DEAD, JobState.CANCELLED


def condition(states: Collection[JobState], column: str = "state") -> str:
    """Return the SQL condition that a job is in one of the states.

    The states are literals, so that the planner can use the partial indexes.
    """
    return f"{column} IN ({', '.join(repr(state.value) for state in sorted(states))})"


IS_WAITING = condition(WAITING_STATES)
IS_LEASED = condition(LEASED_STATES)
IS_UNFINISHED = f"({IS_WAITING} OR {IS_LEASED})"
"""SQL: the job is in one of `UNFINISHED_STATES`. Each part has partial indexes."""
IS_ENDED = condition(ENDED_STATES)
IS_DEAD = condition({DEAD})
IS_QUEUED = condition({JobState.QUEUED})
"""SQL: a message of the job waits in its queue."""

ERROR = f"CASE WHEN state <> '{SUCCEEDED}' THEN last_error END"
"""SQL: the last error of a job that has not succeeded since."""
NEXT_ATTEMPT_AT = f"CASE WHEN {IS_WAITING} THEN run_at END"
"""SQL: when a waiting job is due."""
