"""Enrichments and confirmed tags in the database."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from api.access.principal import current_principal
from api.database import Database
from api.enrichment.schemas import Enrichment
from api.metrics import jobs as metrics
from api.request_log import request_id
from contracts import CONTRACT_VERSION, tracing
from contracts.ids import new_id
from contracts.ledger.enqueue import insert_jobs
from contracts.ledger.states import IS_UNFINISHED
from contracts.messages import Retrain
from contracts.names import QUEUE_OF, Task
from contracts.vocabulary import AreaTag, TypeTag

_NEWEST = """
SELECT issue_id, job_id, summary, language, provenance, created_at, (
    SELECT coalesce(jsonb_agg(suggested || jsonb_build_object('verdict', verdict) ORDER BY place), '[]')
    FROM jsonb_array_elements(tags) WITH ORDINALITY AS each (suggested, place)
    LEFT JOIN tag_feedback feedback
        ON feedback.issue_id = enrichment.issue_id AND feedback.tag = suggested->>'name'
) AS tags, priority || jsonb_build_object('verdict', (
    SELECT verdict FROM priority_feedback feedback
    WHERE feedback.issue_id = enrichment.issue_id AND value = priority->>'value'
)) AS priority
FROM enrichment
WHERE enrichment.issue_id = $1 AND EXISTS (SELECT FROM issue WHERE id = $1 AND deleted_at IS NULL)
ORDER BY job_id DESC LIMIT 1
"""

_CONFIRM = """
WITH confirmed AS (
    UPDATE issue SET tags = array_to_string($2::text[], ','), tags_confirmed_at = now(), updated_at = now()
    WHERE id = $1 AND deleted_at IS NULL
    RETURNING id, project
), suggested AS (
    SELECT tag->>'name' AS tag, (tag->>'confidence')::float AS confidence
    FROM jsonb_array_elements(
        (SELECT tags FROM enrichment WHERE issue_id = $1 ORDER BY job_id DESC LIMIT 1)
    ) AS tag
), verdicts AS (
    SELECT coalesce(suggested.tag, chosen.tag) AS tag, confidence,
        CASE WHEN suggested.tag IS NULL THEN 'added' WHEN chosen.tag IS NULL THEN 'rejected' ELSE 'accepted' END
            AS verdict
    FROM suggested FULL JOIN unnest($2::text[]) AS chosen (tag) ON chosen.tag = suggested.tag
), deleted_verdicts AS (
    DELETE FROM tag_feedback WHERE issue_id = $1 AND tag NOT IN (SELECT tag FROM verdicts)
), stored AS (
    INSERT INTO tag_feedback (issue_id, tag, verdict, confidence)
    SELECT confirmed.id, tag, verdict, confidence FROM verdicts, confirmed
    ON CONFLICT (issue_id, tag) DO UPDATE
    SET verdict = excluded.verdict, confidence = excluded.confidence, created_at = excluded.created_at
), audit AS (
    INSERT INTO audit_log (id, actor, actor_id, action, subject, detail)
    SELECT $3, $4, $5, 'issue.tags_confirmed', id::text, jsonb_build_object('tags', $2::text[]) FROM confirmed
)
SELECT project FROM confirmed
"""

# A confirmation of a minute ago may not have been committed when the trainings were last started.
_FIND_CONFIRMED_PROJECTS = """
SELECT DISTINCT project FROM issue
WHERE tags_confirmed_at > coalesce($1::timestamptz, '-infinity') - interval '1 minute' ORDER BY project
"""

_CREATE_TRAINING_JOB = f"""
WITH needed AS (
    SELECT WHERE NOT EXISTS (
        SELECT FROM job WHERE task = $2 AND {IS_UNFINISHED} AND message->>'project' = $5
    ) AND (
        SELECT count(*) FROM (
            SELECT FROM issue
            WHERE project = $5 AND tags_confirmed_at > coalesce(
                (SELECT max(created_at) FROM project_model WHERE project = $5), '-infinity'
            )
            AND tag_list && $7::text[]
            LIMIT $6
        ) newly_confirmed
    ) >= $6
)
{
    insert_jobs(
        "needed", job_id="$1::uuid", task="$2::text", queue="$3::text", message="$4::jsonb", project="$5::text"
    )
}
RETURNING id
"""


async def get_newest(database: Database, issue_id: UUID) -> Enrichment | None:
    """Return the issue's newest enrichment, or None if there is none."""
    row = await database.fetchrow(_NEWEST, issue_id)
    return None if row is None else Enrichment(**row)


async def confirm_tags(database: Database, issue_id: UUID, tags: Sequence[str]) -> str | None:
    """Set the tags that a user chose and store the decision on each suggestion, in one commit.

    Return the issue's project, or None if the issue does not exist.
    """
    actor = current_principal()
    project: str | None = await database.fetchval(_CONFIRM, issue_id, tags, new_id(), actor.name, actor.token_id)
    return project


async def start_due_trainings(database: Database, newly_confirmed: int, since: datetime | None) -> UUID | None:
    """Create a training job for each project with a confirmation after `since` and enough newly confirmed issues.

    Return the id of the last job, or None if no job was created.
    """
    last = None
    for row in await database.fetch(_FIND_CONFIRMED_PROJECTS, since):
        last = await create_training_job(database, row["project"], newly_confirmed) or last
    return last


async def create_training_job(database: Database, project: str, newly_confirmed: int) -> UUID | None:
    """Create a training job for the project's models, unless one is unfinished.

    It requires `newly_confirmed` issues with a type or an area that were confirmed since the last training. Return
    the job's id, or None if no job was created.
    """
    job_id = new_id()
    message = Retrain(
        contract_version=CONTRACT_VERSION,
        job_id=job_id,
        project=project,
        request_id=request_id(),
        traceparent=tracing.traceparent(),
    )
    created: UUID | None = await database.fetchval(
        _CREATE_TRAINING_JOB,
        job_id,
        Task.RETRAIN,
        QUEUE_OF[Task.RETRAIN],
        message.as_json(),
        project,
        newly_confirmed,
        [*TypeTag, *AreaTag],
    )
    if created is not None:
        database.on_commit(partial(metrics.record_created, Task.RETRAIN, QUEUE_OF[Task.RETRAIN]))
    return created
