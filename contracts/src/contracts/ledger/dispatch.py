"""The dispatcher's transitions, each in one statement and one commit.

pending | retrying  --CLAIM_DUE-->        queued    (run_at has passed, the queue has room)
queued              --REQUEUE-->          pending   (publishing failed, or the message is lost)
running             --EXPIRE_RUNNING-->   pending | dead   (the worker's lease has expired)
queued              --SETTLE_REJECTED-->  pending | dead   (no worker of this version can run it)
"""

from contracts.ledger.queries import IS_DUE
from contracts.ledger.statement import Statement

LEASE_LOST = "WorkerLost: the worker stopped renewing its lease"

CLAIM_DUE = Statement(f"""
WITH due AS (
    SELECT id FROM job
    WHERE queue = :queue AND {IS_DUE}
    ORDER BY run_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
)
UPDATE job SET state = 'queued', queued_at = now(), lease_until = now() + CAST(:lease AS interval)
FROM due WHERE job.id = due.id
RETURNING job.id, task, queue, message, tries AS attempts_since_replay
""")
"""Mark at most `limit` due jobs of the queue as queued, oldest first; other dispatchers skip them."""

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
