"""Transitions that a person or a change of an issue causes.

dead        --replay-->    pending    (with all its attempts)
dead        --discard-->   cancelled
unfinished  --cancel-->    cancelled  (a person cancels the run)
unfinished  --skip-->      skipped    (the issue or the webhook was deleted)
not ended   --skip-->      skipped    (the issue was erased)
pending     --postpone-->  pending    (later)
"""

from contracts.ledger.statement import Statement
from contracts.ledger.states import IS_DEAD, IS_ENDED, IS_UNFINISHED, IS_WAITING, UNFINISHED_STATES, condition
from contracts.names import QUEUE_OF, Task
from contracts.states import JobState

_REPLAY = "UPDATE job SET state = 'pending', tries = 0, run_at = now(), finished_at = NULL, refused_since = NULL"

REPLAY = Statement(f"{_REPLAY} WHERE id = CAST(:id AS uuid) AND {IS_DEAD}")


def replay_matching(ids: str, limit: int) -> str:
    """Return the SQL that replays at most `limit` dead jobs of the query `ids`, oldest first, and counts them."""
    return f"""
    WITH chosen AS (
        SELECT id FROM job WHERE {IS_DEAD} AND id IN ({ids}) ORDER BY id LIMIT {limit} FOR UPDATE SKIP LOCKED
    ), replayed AS (
        {_REPLAY} FROM chosen WHERE job.id = chosen.id RETURNING job.id
    )
    SELECT count(*) FROM replayed
    """


def discard(job_id: str, reason: str) -> str:
    """Return the SQL that discards a dead job; the arguments are SQL expressions."""
    return f"""
    UPDATE job SET state = 'cancelled', note = {reason}, finished_at = now() WHERE id = {job_id} AND {IS_DEAD}
    """


CANCEL_RUN = Statement(f"""
UPDATE job SET state = 'cancelled', finished_at = now(), lease_until = NULL
WHERE id = CAST(:id AS uuid) AND issue_id = CAST(:issue_id AS uuid) AND task = '{Task.ENRICH_ISSUE}'
    AND {IS_UNFINISHED}
RETURNING id
""")
"""Cancel an unfinished enrichment run; return its id if it was unfinished."""


def _skip(jobs: str, note: str, states: str) -> str:
    return f"""
    UPDATE job SET state = 'skipped', finished_at = now(), lease_until = NULL, note = '{note}'
    WHERE {jobs} AND {states}
    """


def skip_jobs_of_issues(issue_ids: str) -> str:
    """Return the SQL that skips the unfinished jobs of deleted issues; `issue_ids` is an SQL expression."""
    return _skip(f"issue_id = ANY({issue_ids})", "the issue was deleted", IS_UNFINISHED)


def skip_erased_jobs(ids: str) -> str:
    """Return the SQL that skips jobs of erased issues, also dead ones; `ids` is an SQL expression."""
    return _skip(f"id = ANY({ids})", "the issue was erased", f"NOT {IS_ENDED}")


def erase_jobs(ids: str) -> str:
    """Return the SQL that removes all but the ids from ended jobs of erased issues; `ids` is an SQL expression."""
    # A replayed message may have any content.
    return f"""
    UPDATE job SET last_error = NULL, note = 'the issue was erased',
        message = jsonb_strip_nulls(jsonb_build_object('job_id', id, 'issue_id', issue_id))
    WHERE id = ANY({ids})
    """


SKIP_TRAININGS = Statement(
    _skip(
        f"task = '{Task.RETRAIN}' AND message->>'project' = CAST(:project AS text)"
        " AND started_at <= CAST(:until AS timestamptz)",
        "an issue was erased",
        condition({JobState.RUNNING}),
    )
)
"""Skip the running trainings of a project that have started until then, because they have read an erased issue."""


def skip_deliveries(ids: str) -> str:
    """Return the SQL that skips deliveries of a deleted webhook, except running ones; `ids` is a query."""
    states = condition(UNFINISHED_STATES - {JobState.RUNNING})
    return _skip(f"id = ANY(ARRAY({ids}))", "the webhook was deleted", states)


POSTPONE_RUNS = Statement("""
UPDATE job SET run_at = greatest(
    run_at,
    least(now() + CAST(:delay AS interval), created_at + CAST(:delay AS interval) * CAST(:times_max AS integer))
)
WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'pending' AND run_at > now()
""")
"""Postpone jobs that wait for further changes, by at most `times_max` delays since their creation."""

POSTPONE_DELIVERIES = Statement(f"""
WITH waiting AS (
    SELECT job.id FROM job JOIN webhook_delivery ON job_id = job.id
    WHERE queue = '{QUEUE_OF[Task.DELIVER_WEBHOOK]}' AND {IS_WAITING} AND run_at <= now()
        AND webhook_id = CAST(:webhook_id AS uuid)
    LIMIT :limit FOR UPDATE OF job SKIP LOCKED
)
UPDATE job SET run_at = CAST(:until AS timestamptz) FROM waiting WHERE job.id = waiting.id
""")
"""Postpone at most `limit` due deliveries to a webhook."""
