"""Reads of the ledger. Each reads a partial index, so that its cost is independent of ended jobs."""

from contracts.ledger.classes import PriorityClass
from contracts.ledger.lanes import scan_lanes
from contracts.ledger.pauses import IS_NOT_PAUSED
from contracts.ledger.statement import Statement
from contracts.ledger.states import (
    IS_DEAD,
    IS_ENDED,
    IS_LEASED,
    IS_QUEUED,
    IS_UNFINISHED,
    IS_WAITING,
)
from contracts.names import Task

_CLASSES = (
    "unnest(CAST(:queues AS text[])) AS given (queue)"
    f" CROSS JOIN generate_series(0, {max(PriorityClass).value}) AS class (number)"
)
"""SQL: each class of each queue."""

COUNTED_MAX = 10_000
"""Maximum of each count, which bounds the cost for a large backlog."""

LANES_MAX = 1000
"""Maximum lanes of a queue and class that a query reads."""
LANE_JOBS_MAX, PROJECTS_MAX = 100_000, 10
"""Maximum jobs to count by project, and projects to report."""

OPEN_CIRCUITS = "SELECT task FROM circuit WHERE open_until > now()"
"""SQL: the tasks whose jobs wait for their provider."""

IS_DUE = f"{IS_WAITING} AND run_at <= now() AND task <> ALL (ARRAY({OPEN_CIRCUITS})) AND {IS_NOT_PAUSED}"
"""SQL: the dispatcher may publish the job. Jobs that are paused, or whose circuit breaker is open, wait."""

IS_FOREGROUND = f"priority_class < {PriorityClass.BACKGROUND.value}"
"""SQL: a user waits for the job: its class is above background."""

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
    SELECT queue, min(run_at) FROM job WHERE {IS_QUEUED} GROUP BY queue
) oldest
GROUP BY queue
""")
"""By queue, the seconds that the oldest due job has waited, or null if there is none."""

FIND_AT_LIMIT = Statement(f"""
SELECT project FROM job LEFT JOIN project_share USING (project)
WHERE {IS_LEASED} AND project <> '' GROUP BY project, running_max
HAVING count(*) >= coalesce(running_max, CAST(:running_max AS integer))
""")
"""The projects that have as many published and running jobs as their limit, or `running_max`, allows."""

# A published job waits since its publication, because its project may have been at its limit before.
WAITING_TIMES = Statement(f"""
WITH due AS (
    SELECT queue, number AS priority_class, run_at AS since,
        task <> ALL (ARRAY({OPEN_CIRCUITS})) AS is_publishable,
        project = ANY (CAST(:at_limit AS text[])) AS is_limited
    FROM {_CLASSES} CROSS JOIN LATERAL ({scan_lanes("given.queue", "class.number")} LIMIT {LANES_MAX}) lane
    WHERE run_at <= now() AND {IS_NOT_PAUSED}
    UNION ALL
    SELECT queue, priority_class, greatest(run_at, queued_at), false, false
    FROM job WHERE {IS_QUEUED} AND {IS_NOT_PAUSED}
), oldest AS (
    SELECT queue,
        min(since) FILTER (WHERE {IS_FOREGROUND} AND NOT is_limited) AS foreground,
        min(since) FILTER (WHERE NOT {IS_FOREGROUND} AND NOT is_limited) AS background,
        min(since) FILTER (WHERE {IS_FOREGROUND} OR NOT is_limited) AS expected,
        min(since) FILTER (WHERE {IS_FOREGROUND} AND NOT is_limited AND is_publishable) AS publishable
    FROM due GROUP BY queue
)
SELECT queue,
    extract(epoch FROM now() - foreground)::float8 AS foreground_s,
    extract(epoch FROM now() - background)::float8 AS background_s,
    extract(epoch FROM now() - expected)::float8 AS expected_s,
    extract(epoch FROM now() - publishable)::float8 AS publishable_s
FROM oldest
""")
"""By queue, the seconds that the oldest due jobs have waited, or null; of each class, the first `LANES_MAX` lanes.

`foreground_s` is that of the jobs above class background, `publishable_s` that of those which the dispatcher may
publish. Paused jobs, and waiting jobs of the projects `at_limit`, are not included. `expected_s` is that of all
jobs that must run within hours: it includes the foreground jobs of projects `at_limit`.
"""

COUNT_BY_CLASS = Statement(f"""
SELECT class.number AS priority_class, sum(each.number)::bigint AS waiting
FROM {_CLASSES} CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM (
        SELECT FROM job WHERE {IS_WAITING} AND job.queue = given.queue
            AND job.priority_class = class.number AND run_at <= now() LIMIT {COUNTED_MAX}
    ) counted
) each GROUP BY 1 ORDER BY 1
""")
"""The number of due jobs by priority class, of each queue at most `COUNTED_MAX`."""

COUNT_BY_PROJECT = Statement(f"""
WITH lane AS MATERIALIZED (
    SELECT queue, number AS priority_class, project, task
    FROM {_CLASSES} CROSS JOIN LATERAL ({scan_lanes("given.queue", "class.number")} LIMIT {LANES_MAX}) each
    WHERE project <> '' AND run_at <= now()
)
SELECT project, sum(number)::bigint AS waiting FROM lane CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM (
        SELECT FROM job WHERE {IS_WAITING} AND job.queue = lane.queue AND job.priority_class = lane.priority_class
            AND job.project = lane.project AND job.task = lane.task AND run_at <= now()
        LIMIT (SELECT {LANE_JOBS_MAX} / greatest(count(*), 1) + 1 FROM lane)
    ) counted
) each GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {PROJECTS_MAX}
""")
"""The projects with the most due jobs; of each class, in the first `LANES_MAX` lanes.

It counts at most `LANE_JOBS_MAX` jobs of all lanes, of each lane the same share.
"""

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
    # The conditions of two partial indexes. Enrichment jobs stay with their issue until it is erased.
    "job": f"({IS_ENDED} AND task <> '{Task.ENRICH_ISSUE}' AND finished_at < now() - :kept"
    f" OR {IS_ENDED} AND task = '{Task.ENRICH_ISSUE}' AND issue_id IS NULL AND finished_at < now() - :kept)",
    # Failures of enrichment jobs. The failures of other jobs are deleted with the job. A job that has not ended
    # still needs its failures.
    "job_failure": f"failed_at < now() - :kept AND (SELECT {IS_ENDED} FROM job WHERE job.id = job_id)",
}
"""SQL condition of the rows to delete, by table. `:kept` is the retention time."""
