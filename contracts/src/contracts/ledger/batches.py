"""The transitions of a batch: jobs of one task and queue that one message runs together.

    pending  --CLAIM_FOLLOWERS--> running   (with the job of the message, which leads the batch)
    running  --RELEASE-->         pending   (not started; the attempt does not count)
    running  --COMPLETE_BATCH-->  succeeded | skipped   (with the effects of the batch, in one transaction)

Each job of a batch is in its first attempt: a job that has failed once runs alone. So its number
and the holder fence the writes.
"""

from sqlalchemy import func, select, text
from sqlalchemy.orm import aliased

from contracts.ledger.attempts import CLAIM
from contracts.ledger.dispatch import CLAIM_MAX
from contracts.ledger.pauses import not_paused
from contracts.ledger.statement import Statement
from contracts.ledger.states import IS_WAITING, WAITING_STATES, condition
from contracts.tables import Job

FIRST_ATTEMPT = 1

_due = aliased(Job, name="due")
# The states are literals, so that the planner uses the partial index.
_IS_DUE = (text(condition(WAITING_STATES, "due.state")), _due.queue == Job.queue, _due.run_at <= func.now())


def claim_lead(due_max: int) -> Statement:
    """Return the statement CLAIM, which also returns how many jobs of the queue are `due`, up to `due_max`."""
    found = select(text("1")).select_from(_due).where(*_IS_DUE).correlate(Job).limit(due_max).subquery()
    count = select(func.count()).select_from(found).scalar_subquery()
    return Statement(CLAIM.returning(count.label("due")))


_IDS = "id = ANY(CAST(:ids AS uuid[]))"
_IS_MINE = "state = 'running' AND attempts = CAST(:attempt AS integer) AND worker = CAST(:holder AS text)"
# All lock jobs in the order of deletions: two statements on the same jobs cannot block each other.
_MINE = f"SELECT id FROM job WHERE {_IDS} AND {_IS_MINE} ORDER BY id FOR UPDATE"

# As in CLAIM_DUE, the outer limit reads no more rows than it returns. The inner one bounds the search among jobs
# that have failed before.
CLAIM_FOLLOWERS = Statement(f"""
WITH due AS MATERIALIZED (
    SELECT waiting.id FROM unnest(
        CAST(:classes AS integer[]), CAST(:projects AS text[]), CAST(:counts AS integer[])
    ) AS lane (priority_class, project, count) CROSS JOIN LATERAL (
        SELECT id FROM (
            SELECT id, attempts, message FROM job WHERE queue = :queue AND {IS_WAITING}
                AND (job.priority_class, job.project, job.task, job.run_at)
                    >= (lane.priority_class, lane.project, :task, CAST('-infinity' AS timestamptz))
                AND (job.priority_class, job.project, job.task, job.run_at)
                    <= (lane.priority_class, lane.project, :task, now())
            ORDER BY job.priority_class, job.project, job.task, job.run_at LIMIT {CLAIM_MAX}
            FOR UPDATE SKIP LOCKED
        ) oldest
        WHERE attempts = 0 AND split_part(message->>'contract_version', '.', 1) = CAST(:major AS text)
        LIMIT lane.count
    ) waiting
    WHERE {not_paused(":queue", ":task", "lane.project")}
)
UPDATE job SET state = 'running', attempts = {FIRST_ATTEMPT}, tries = tries + 1, worker = CAST(:holder AS text),
    started_at = now(), lease_until = now() + CAST(:lease AS interval), refused_since = NULL
WHERE id = ANY(ARRAY(SELECT id FROM due))
RETURNING id, message, priority_class, project, run_at,
    CAST(extract(epoch FROM now() - run_at) AS float8) AS waited_s,
    set_config('synchronous_commit', 'off', true)
""")
"""Start the first attempts of due jobs of a task, the oldest `counts` jobs of each lane.

Only messages of the contract version `major` are claimed: the worker's main process checks the others.
"""

RENEW = Statement(f"""
WITH mine AS MATERIALIZED ({_MINE})
UPDATE job SET lease_until = now() + CAST(:lease AS interval) WHERE id IN (SELECT id FROM mine) RETURNING id
""")
"""Renew the leases of attempts with the same number and holder; return the jobs that they still own."""

RELEASE = Statement(f"""
WITH mine AS MATERIALIZED ({_MINE})
UPDATE job SET state = 'pending', attempts = attempts - 1, tries = tries - 1, worker = NULL, started_at = NULL,
    lease_until = NULL, queued_at = NULL
WHERE id IN (SELECT id FROM mine) RETURNING id
""")
"""Return jobs that have not started to the ledger. They keep their scheduled time."""

COMPLETE_BATCH = Statement(f"""
WITH mine AS MATERIALIZED ({_MINE})
UPDATE job SET state = CASE WHEN id = ANY(CAST(:skipped AS uuid[])) THEN 'skipped' ELSE 'succeeded' END,
    finished_at = now(), lease_until = NULL, last_error = NULL
WHERE id IN (SELECT id FROM mine)
RETURNING id, CAST(extract(epoch FROM now() - created_at) AS float8) AS age_s
""")
"""End the jobs of a batch; return those that their attempts still owned, and their ages."""
