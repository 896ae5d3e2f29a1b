"""The SQL of an erasure. `:ids` are issues, `:jobs` their jobs, which the first statement locks.

A statement that waited for a lock reads other tables from an older snapshot. So each step is a statement.
"""

from sqlalchemy import text

from contracts.ledger.decisions import erase_jobs, skip_erased_jobs
from contracts.ledger.enqueue import insert_jobs
from contracts.ledger.states import IS_UNFINISHED
from contracts.names import QUEUE_OF, Task
from contracts.states import WebhookEvent

RETENTION = "retention"
"""The actor of erasures that no one requested. No token can have this name."""

_IDS = "CAST(:ids AS uuid[])"
_JOBS = "CAST(:jobs AS uuid[])"

FIND_VISIBLE = text(f"SELECT id FROM issue WHERE id = ANY({_IDS}) AND deleted_at IS NULL")

# The delivery of the deletion is kept. Its payload has no text.
LOCK_JOBS = text(f"""
SELECT job.id FROM job JOIN (
    SELECT id FROM job WHERE issue_id = ANY({_IDS})
    UNION ALL
    SELECT job_id FROM webhook_delivery
    WHERE issue_id = ANY({_IDS}) AND event <> '{WebhookEvent.ISSUE_DELETED}'
) AS own USING (id) ORDER BY job.id FOR UPDATE OF job
""")
ERASE_JOBS = (
    text(skip_erased_jobs(_JOBS)),
    text(f"DELETE FROM job_failure WHERE job_id = ANY({_JOBS})"),
    text(erase_jobs(_JOBS)),
)
DELETE_DEAD_MESSAGES = text("DELETE FROM dead_message WHERE id = ANY(CAST(:messages AS uuid[]))")

# An issue may have been confirmed in several projects. A training ends within an hour of the deletion.
FIND_TRAINED = text(f"""
WITH confirmed AS (
    SELECT id, project, created_at, deleted_at FROM issue
    WHERE id = ANY({_IDS}) AND tags_confirmed_at IS NOT NULL
), trained AS (
    SELECT project, created_at, deleted_at FROM confirmed
    UNION ALL
    SELECT job.project, confirmed.created_at, deleted_at FROM confirmed JOIN job ON issue_id = confirmed.id
    UNION ALL
    SELECT detail->>'project', confirmed.created_at, deleted_at
    FROM confirmed JOIN audit_log ON subject = CAST(confirmed.id AS text)
    WHERE action = 'issue.changed' AND detail ? 'project'
)
SELECT project, min(created_at) AS since, max(deleted_at) + interval '1 hour' AS until
FROM trained WHERE project <> '' GROUP BY project ORDER BY project
""")
_TRAINED = "project = :project AND created_at BETWEEN :since AND :until"
LOCK_ACTIVE_MODELS = text("SELECT FROM active_model WHERE project = :project ORDER BY kind FOR UPDATE")
DETACH_MODELS = (
    text(f"""
    UPDATE active_model SET model_id = NULL, updated_at = now()
    WHERE project = :project AND model_id IN (SELECT id FROM project_model WHERE {_TRAINED})
    """),
    text(f"""
    UPDATE project_model SET replaced = NULL
    WHERE project = :project AND replaced IN (SELECT id FROM project_model WHERE {_TRAINED})
    """),
)
DELETE_MODELS = text(f"DELETE FROM project_model WHERE {_TRAINED}")
TRAINING_EXISTS = (
    f"SELECT FROM job WHERE task = '{Task.RETRAIN}' AND {IS_UNFINISHED} AND message->>'project' = :project"
)
ENQUEUE_TRAINING = text(
    insert_jobs(
        f"(SELECT WHERE NOT EXISTS ({TRAINING_EXISTS})) AS needed",
        job_id="CAST(:job AS uuid)",
        task=f"'{Task.RETRAIN}'",
        queue=f"'{QUEUE_OF[Task.RETRAIN]}'",
        message="CAST(:message AS jsonb)",
        project="CAST(:project AS text)",
    )
)

ERASE_COPIES = (
    # A repeated request must not create the issue again.
    text(f"""
    UPDATE idempotent_answer SET status = 410, headers = '{{"content-type": "application/problem+json"}}',
        body = convert_to('{{"title": "Gone", "status": 410, "detail": "The issue was erased."}}', 'UTF8')
    WHERE issue_id = ANY({_IDS})
    """),
    # The errors quote rows of files. Only imported issues can be in them. A person who deletes an issue does not
    # expect that later imports lose their errors.
    text(f"""
    UPDATE operation SET errors = (
        SELECT jsonb_agg(error || '{{"pointer": "#", "detail": "Removed, because an issue was erased."}}')
        FROM jsonb_array_elements(errors) AS error
    ), problems = '[]' FROM issue JOIN erasure USING (id)
    WHERE issue.id = ANY({_IDS}) AND external_source IS NOT NULL AND errors <> '[]' AND operation.created_at <=
        CASE WHEN erasure.actor = '{RETENTION}' THEN deleted_at ELSE requested_at END
    """),
)

DELETE_ISSUES = text(f"DELETE FROM issue WHERE id = ANY({_IDS})")
"""Enrichments, feedback and the search index are deleted with the issue."""
