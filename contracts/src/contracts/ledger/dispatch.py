"""The dispatcher's transitions, each in one statement and one commit.

pending | retrying  --CLAIM_DUE-->        queued    (run_at has passed, the queue has room)
queued              --REQUEUE-->          pending   (publishing failed, or the message is lost)
running             --EXPIRE_RUNNING-->   pending | dead   (the worker's lease has expired)
queued              --SETTLE_REJECTED-->  pending | dead   (no worker of this version can run it)
"""

from contracts.ledger.lanes import scan_lanes
from contracts.ledger.pauses import is_not_paused, not_paused
from contracts.ledger.queries import OPEN_CIRCUITS
from contracts.ledger.statement import Statement
from contracts.ledger.states import IS_WAITING
from contracts.states import PauseKind

LEASE_LOST = "WorkerLost: the worker stopped renewing its lease"

FOUND_LANES_MAX, SCANNED_LANES_MAX = 200, 2000
"""Maximum lanes of a class that one search returns, and that it reads. They bound the time of the search."""

_SEARCHED = (":queue", "last.priority_class")
_LAST = "(last_project, last_task)"
# For EXISTS, the planner could read the table.
_HAS_DUE = f"(SELECT min(run_at) FROM job WHERE queue = :queue AND {IS_WAITING}) <= now()"
_IS_LANE_DUE = f"""
run_at <= now() AND task <> ALL (ARRAY({OPEN_CIRCUITS}))
    AND {is_not_paused(PauseKind.TASK, "task")} AND {is_not_paused(PauseKind.PROJECT, "project")}
"""

# The limits stop the scans. The second one continues at the first lane. The last condition is one probe, which
# saves the scans of a queue whose jobs are all due later.
FIND_LANES = Statement(f"""
SELECT lane.priority_class, project, task, waited_s, is_due, is_end
FROM unnest(CAST(:classes AS integer[]), CAST(:projects AS text[]), CAST(:tasks AS text[]))
    AS last (priority_class, last_project, last_task)
CROSS JOIN LATERAL (
    SELECT last.priority_class, project, task, extract(epoch FROM now() - run_at)::float8 AS waited_s,
        is_due, place = {SCANNED_LANES_MAX} OR row_number() OVER () = {FOUND_LANES_MAX} AS is_end
    FROM (
        SELECT project, task, run_at, {_IS_LANE_DUE} AS is_due, row_number() OVER () AS place FROM (
            SELECT * FROM ({scan_lanes(*_SEARCHED, after=_LAST)}) following
            UNION ALL
            SELECT * FROM ({scan_lanes(*_SEARCHED, until=_LAST)}) first
        ) each LIMIT {SCANNED_LANES_MAX}
    ) scanned WHERE is_due OR place = {SCANNED_LANES_MAX} LIMIT {FOUND_LANES_MAX}
) lane
WHERE {is_not_paused(PauseKind.QUEUE, ":queue")} AND {_HAS_DUE}
""")
"""Lanes of a queue that have a due job, at most `FOUND_LANES_MAX` of each class.

Those behind the given lane of their class come first. Jobs that are paused, or whose circuit breaker is open,
wait. `is_end` is the lane of its class at which a limit has ended the scan. It is returned even if it is not due.
"""

CLAIM_MAX = 200
"""Maximum jobs of one claim. The planner would expect a tenth of the backlog without it, and read all of it."""

# Comparing rows instead of columns leaves only the lanes' index in this order. That of due jobs mixes all lanes.
# The outer limit reads no more rows than it returns, so no others are locked.
CLAIM_DUE = Statement(f"""
WITH due AS MATERIALIZED (
    SELECT waiting.id FROM unnest(
        CAST(:classes AS integer[]), CAST(:projects AS text[]), CAST(:tasks AS text[]), CAST(:counts AS integer[])
    ) AS lane (priority_class, project, task, count) CROSS JOIN LATERAL (
        SELECT id FROM (
            SELECT id FROM job WHERE queue = :queue AND {IS_WAITING}
                AND (job.priority_class, job.project, job.task, job.run_at)
                    >= (lane.priority_class, lane.project, lane.task, '-infinity'::timestamptz)
                AND (job.priority_class, job.project, job.task, job.run_at)
                    <= (lane.priority_class, lane.project, lane.task, now())
            ORDER BY job.priority_class, job.project, job.task, job.run_at LIMIT {CLAIM_MAX}
            FOR UPDATE SKIP LOCKED
        ) oldest LIMIT lane.count
    ) waiting
    WHERE {not_paused(":queue", "lane.task", "lane.project")}
)
UPDATE job SET state = 'queued', queued_at = now(), lease_until = now() + CAST(:lease AS interval)
WHERE id = ANY(ARRAY(SELECT id FROM due))
RETURNING id, task, queue, message, tries AS attempts_since_replay, priority_class, project, run_at
""")
"""Mark due jobs as queued, the oldest `counts` jobs of each lane; other dispatchers skip them.

The lanes may have been found before a pause, so it checks the pauses again.
"""

REQUEUE = Statement("""
UPDATE job SET state = 'pending', run_at = now(), queued_at = NULL, lease_until = NULL
WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'queued' AND (CAST(:is_leased AS boolean) OR lease_until < now())
RETURNING id
""")
"""Requeue queued jobs; unless `is_leased`, only those whose lease has expired."""

FIND_EXPIRED_QUEUED = Statement("""
SELECT id, queue FROM job
WHERE state = 'queued' AND lease_until < now()
ORDER BY lease_until LIMIT :limit
""")

RENEW_QUEUED = Statement("""
UPDATE job SET lease_until = now() + CAST(:lease AS interval)
WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'queued'
""")

EXPIRE_RUNNING = Statement("""
WITH expired AS (
    SELECT id, tries >= CAST(:max_attempts AS integer) AS is_last FROM job
    WHERE state = 'running' AND lease_until < now()
    ORDER BY lease_until LIMIT :limit
    FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE job SET
        state = CASE WHEN is_last THEN 'dead' ELSE 'pending' END,
        finished_at = CASE WHEN is_last THEN now() END,
        run_at = now(), lease_until = NULL, last_error = CAST(:error AS text)
    FROM expired WHERE job.id = expired.id
    RETURNING job.id, task, queue, attempts, worker, started_at, state
), failure AS (
    INSERT INTO job_failure (job_id, attempt, kind, worker, error, started_at)
    SELECT id, attempts, 'lost', worker, CAST(:error AS text), started_at FROM moved
)
SELECT id, task, queue, state FROM moved
""")

SETTLE_REJECTED = Statement("""
WITH given AS (
    SELECT DISTINCT ON (id) * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:for_newer AS boolean[]), CAST(:errors AS text[]), CAST(:workers AS text[])
    ) AS given (id, for_newer, error, worker)
), rejected AS (
    SELECT id, error, given.worker,
        NOT for_newer OR coalesce(refused_since, now()) < now() - CAST(:give_up_after AS interval) AS is_over
    FROM job JOIN given USING (id) WHERE state = 'queued'
    FOR UPDATE OF job SKIP LOCKED
), moved AS (
    UPDATE job SET
        state = CASE WHEN is_over THEN 'dead' ELSE 'pending' END,
        finished_at = CASE WHEN is_over THEN now() END,
        refused_since = coalesce(refused_since, now()),
        run_at = now() + CAST(:retry AS interval), queued_at = NULL, lease_until = NULL, last_error = error
    FROM rejected WHERE job.id = rejected.id
    RETURNING job.id, task, queue, attempts, state, error, rejected.worker
), failure AS (
    INSERT INTO job_failure (job_id, attempt, kind, worker, error)
    SELECT id, attempts, 'permanent', worker, error FROM moved WHERE state = 'dead'
    ON CONFLICT DO NOTHING
)
SELECT id, job.task, job.queue, moved.state IS NOT DISTINCT FROM 'dead' AS has_died
FROM job JOIN given USING (id) LEFT JOIN moved USING (id)
""")
"""Settle rejected messages of jobs; return the jobs that exist, and whether they have died."""

FIND_LOG_FIELDS = Statement("""
SELECT id, jsonb_build_object(
    'job_id', id, 'task', task, 'queue', queue, 'attempt', attempts, 'issue_id', message->'issue_id',
    'request_id', message->'request_id', 'worker', worker
) AS fields
FROM job WHERE id = ANY(CAST(:ids AS uuid[]))
""")
