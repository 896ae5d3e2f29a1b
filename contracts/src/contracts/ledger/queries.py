"""Reads of the ledger. Each reads a partial index, so that its cost is independent of ended jobs."""

from contracts.ledger.statement import Statement
from contracts.ledger.states import (
    IS_DEAD,
    IS_ENDED,
    IS_LEASED,
    IS_PUBLISHED,
    IS_UNFINISHED,
    IS_WAITING,
)
from contracts.names import Task

COUNTED_MAX = 10_000
"""Maximum of each count, which bounds the cost for a large backlog."""

OPEN_CIRCUITS = "SELECT task FROM circuit WHERE open_until > now()"
"""SQL: the tasks whose jobs wait for their provider."""

IS_DUE = f"{IS_WAITING} AND run_at <= now() AND task <> ALL (ARRAY({OPEN_CIRCUITS}))"
"""SQL: the dispatcher may publish the job. Jobs of an open circuit breaker wait."""

NEEDS_WORKER = f"({IS_LEASED} OR ({IS_DUE}))"
"""SQL: the job is due, published or running. The autoscaler and KEDA start a worker for it."""

COUNT_NEEDING_WORKER = Statement(f"""
SELECT count(*) FROM (
    (SELECT 1 FROM job WHERE queue = :queue AND {IS_LEASED} LIMIT :limit)
    UNION ALL
    (SELECT 1 FROM job WHERE queue = :queue AND {IS_DUE} LIMIT :limit)
) AS jobs
""")
"""The number of jobs of a queue that need a worker, each kind at most `limit`."""

# Due jobs are counted by an index-only scan. A due retry counts as waiting.
COUNT_BY_QUEUE = Statement(f"""
WITH leased AS (
    SELECT queue, state FROM job WHERE {IS_LEASED} LIMIT {COUNTED_MAX}
), dead AS (
    SELECT queue FROM job WHERE {IS_DEAD} LIMIT {COUNTED_MAX}
)
SELECT given.queue AS name,
    due.number + later.pending + (SELECT count(*) FROM leased WHERE queue = given.queue AND state = 'queued')
        AS waiting,
    (SELECT count(*) FROM leased WHERE queue = given.queue AND state = 'running') AS running,
    later.retrying, later.next_retry_s,
    (SELECT count(*) FROM dead WHERE queue = given.queue) AS dead
FROM unnest(CAST(:queues AS text[])) AS given (queue)
CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM (
        SELECT FROM job WHERE {IS_WAITING} AND job.queue = given.queue AND run_at <= now() LIMIT {COUNTED_MAX}
    ) counted
) due
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'pending') AS pending,
        count(*) FILTER (WHERE state = 'retrying') AS retrying,
        extract(epoch FROM min(run_at) FILTER (WHERE state = 'retrying') - now())::float8 AS next_retry_s
    FROM (
        SELECT state, run_at FROM job WHERE {IS_WAITING} AND job.queue = given.queue AND run_at > now()
        ORDER BY run_at LIMIT {COUNTED_MAX}
    ) counted
) later
""")

# A due job waits in the ledger, or is published and has not started.
OLDEST_DUE = Statement(f"""
SELECT queue, extract(epoch FROM now() - min(run_at))::float8 AS age FROM (
    SELECT queue, (
        SELECT min(run_at) FROM job WHERE {IS_WAITING} AND job.queue = given.queue AND run_at <= now()
    ) AS run_at
    FROM unnest(CAST(:queues AS text[])) AS given (queue)
    UNION ALL
    SELECT queue, min(run_at) FROM job WHERE {IS_PUBLISHED} GROUP BY queue
) oldest
GROUP BY queue
""")
"""By queue, the seconds that the oldest due job has waited, or null if there is none."""

OLDEST_UNPUBLISHED = Statement(f"""
SELECT queue, (
    SELECT extract(epoch FROM now() - run_at)::float FROM job
    WHERE job.queue = given.queue AND {IS_DUE}
    ORDER BY run_at LIMIT 1
) AS age
FROM unnest(CAST(:queues AS text[])) AS given (queue)
""")
"""By queue, the seconds that the oldest job which the dispatcher may publish has waited, or null."""

COUNT_BY_TASK = Statement(f"""
SELECT task, queue, state, message->>'contract_version' AS contract, count(*) AS number
FROM job WHERE {IS_WAITING} GROUP BY 1, 2, 3, 4
UNION ALL
SELECT task, queue, state, message->>'contract_version', count(*)
FROM job WHERE {IS_LEASED} GROUP BY 1, 2, 3, 4
UNION ALL
SELECT task, queue, state, NULL, count(*) FROM job WHERE {IS_DEAD} GROUP BY 1, 2, 3
""")

COUNT_UNFINISHED = Statement(f"""
SELECT state, count(*) FROM job WHERE {IS_WAITING} GROUP BY state
UNION ALL
SELECT state, count(*) FROM job WHERE {IS_LEASED} GROUP BY state
""")
COUNT_DEAD = Statement(f"SELECT count(*) FROM job WHERE {IS_DEAD}")
COUNT_BY_CONTRACT = Statement(f"""
SELECT message->>'contract_version' AS version, count(*) FROM job WHERE {IS_WAITING} GROUP BY 1
""")

LOCK_UNFINISHED = Statement(f"""
SELECT id, issue_id, task, state FROM job
WHERE issue_id = ANY(CAST(:issue_ids AS uuid[])) AND {IS_UNFINISHED}
ORDER BY id FOR UPDATE
""")
"""Lock the unfinished jobs of issues, in the order of their ids."""

PRUNABLE = {
    # The condition of the partial index. Enrichment jobs stay with their issue.
    "job": f"{IS_ENDED} AND task <> '{Task.ENRICH_ISSUE}' AND finished_at < now() - :kept",
    # Failures of enrichment jobs. The failures of other jobs are deleted with the job. A job that has not ended
    # still needs its failures.
    "job_failure": f"failed_at < now() - :kept AND (SELECT {IS_ENDED} FROM job WHERE job.id = job_id)",
}
"""SQL condition of the rows to delete, by table. `:kept` is the retention time."""
