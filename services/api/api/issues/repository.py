"""Issues in the database."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg

from api.access.principal import current_principal
from api.database import Database, DatabaseUnavailable
from api.issues.schemas import EnrichmentState, External, ExternalRecord, Issue, IssueCreate
from api.metrics import jobs as metrics
from api.request_log import request_id
from contracts import CONTRACT_VERSION, tracing
from contracts.ids import new_id
from contracts.ledger.classes import class_of
from contracts.ledger.deletion import DELETE_ISSUES
from contracts.ledger.enqueue import insert_jobs
from contracts.ledger.states import RETRYING, RUNNING, SUCCEEDED
from contracts.messages import EnrichIssue
from contracts.names import QUEUE_OF, Task

_COLUMNS = """
id, project, title, description, priority, status, duplicate_of, external_source, external_id, external_url,
external_details, ai_summary, tag_list, tags_confirmed_at, created_at, updated_at
"""

NewRow = tuple[Any, ...]
"""A new issue with its job and audit entry: one element of each of the statement's thirteen arrays."""

# A row is omitted if another issue has the same external id, or if an earlier execution has stored it.
CREATE = f"""
WITH new_issue AS (
    INSERT INTO issue (id, project, title, description, priority, external_source, external_id, external_url)
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]
    )
    ON CONFLICT DO NOTHING
    RETURNING {_COLUMNS}
), stored AS (
    SELECT * FROM new_issue JOIN unnest(
        $1::uuid[], $9::uuid[], $10::jsonb[], $11::uuid[], $12::text[], $13::uuid[]
    ) AS given (id, job_id, message, audit_id, actor, actor_id) USING (id)
), new_job AS (
    {
    insert_jobs(
        "stored",
        job_id="job_id",
        task="$14",
        queue="$15",
        message="message",
        issue_id="id",
        project="project",
        priority_class=class_of("priority"),
    )
}
    RETURNING issue_id, state, attempts, run_at, started_at, last_error
), audit AS (
    INSERT INTO audit_log (id, actor, actor_id, action, subject)
    SELECT audit_id, actor, actor_id, 'issue.created', id::text FROM stored
)
SELECT new_issue.*, state, attempts, run_at, started_at, last_error, false AS stale, false AS needs_review,
    '{{}}'::text[] AS confirmed, '[]'::jsonb AS suggested_tags
FROM new_issue JOIN new_job ON issue_id = new_issue.id
"""
_FIND_EXTERNAL = """
SELECT id FROM issue WHERE external_source = $1 AND external_id = $2 AND deleted_at IS NULL
"""

TEXT_DIGEST = r"""
encode(sha256(convert_to(title, 'UTF8') || '\x00'::bytea || convert_to(description, 'UTF8')), 'hex')
"""
"""SQL: the digest of an issue's text, which a worker writes into `provenance.input_sha256`."""

_IS_OPEN = "issue.status IN ('open', 'in_progress')"
_SUGGESTED = """
FROM jsonb_array_elements(enrichment.tags) WITH ORDINALITY AS each (suggested, place) WHERE NOT EXISTS (
    SELECT FROM tag_feedback feedback WHERE feedback.issue_id = issue.id AND feedback.tag = suggested->>'name'
)
"""
_UNDECIDED = f"""
EXISTS (SELECT {_SUGGESTED}) OR enrichment.priority->>'value' <> issue.priority AND NOT EXISTS (
    SELECT FROM priority_feedback feedback
    WHERE feedback.issue_id = issue.id AND feedback.value = enrichment.priority->>'value'
)
"""
NEEDS_REVIEW = f"""
({_IS_OPEN} AND coalesce((
    SELECT {_UNDECIDED} FROM enrichment WHERE enrichment.issue_id = issue.id ORDER BY job_id DESC LIMIT 1
), false))
"""
"""SQL: whether an issue is open and its newest run has undecided suggestions."""


EDITED = "ARRAY(SELECT DISTINCT unnest(edited || {}))"
"""SQL: the fields that users have edited, with further fields for `{}`."""


def select(source: str, *columns: str) -> str:
    """Return the SQL that selects issues with their enrichment from a table or `(SELECT ...)`.

    `columns` are additional columns of the source.
    """
    additional = "".join(f"issue.{column}, " for column in columns)
    return f"""
SELECT {additional}{_COLUMNS}, state, attempts, run_at, started_at, last_error, coalesce(stale, false) AS stale,
    coalesce(needs_review, false) AS needs_review, confirmed, coalesce(suggested, '[]') AS suggested_tags
FROM {source} issue LEFT JOIN LATERAL (
    SELECT state, attempts, run_at, started_at, last_error FROM job
    WHERE job.issue_id = issue.id AND task = '{Task.ENRICH_ISSUE}' ORDER BY job.id DESC LIMIT 1
) newest_job ON true LEFT JOIN LATERAL (
    SELECT provenance->>'input_sha256' <> {TEXT_DIGEST} AS stale, {_IS_OPEN} AND ({_UNDECIDED}) AS needs_review,
        (SELECT jsonb_agg(suggested ORDER BY place) {_SUGGESTED}) AS suggested
    FROM enrichment
    WHERE enrichment.issue_id = issue.id ORDER BY job_id DESC LIMIT 1
) newest_enrichment ON true CROSS JOIN LATERAL (
    SELECT ARRAY(
        SELECT tag FROM tag_feedback WHERE tag_feedback.issue_id = issue.id AND tag = ANY(tag_list)
            AND verdict IN ('accepted', 'added') ORDER BY array_position(tag_list, tag)
    ) AS confirmed
) people
"""


GET = f"{select('issue')} WHERE issue.id = $1 AND deleted_at IS NULL"
_GET_SEVERAL = f"{select('issue')} WHERE issue.id = ANY($1)"
_LOCK = "SELECT FROM issue WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE"
_MAY_BE_ORIGINAL = """
SELECT FROM issue WHERE id = $2 AND id <> $1 AND deleted_at IS NULL AND duplicate_of IS NULL
    AND NOT EXISTS (SELECT FROM issue WHERE duplicate_of = $1)
FOR NO KEY UPDATE
"""


def build_row(new: IssueCreate) -> NewRow:
    """Return the row that `create_issues` stores for a new issue."""
    issue_id, job_id, actor = new_id(), new_id(), current_principal()
    message = EnrichIssue(
        contract_version=CONTRACT_VERSION,
        job_id=job_id,
        issue_id=issue_id,
        request_id=request_id(),
        traceparent=tracing.traceparent(),
    )
    external = new.external
    return (
        *(issue_id, new.project, new.title, new.description, new.priority),
        *((None, None, None) if external is None else (external.source, external.id, external.url)),
        *(job_id, message.as_json(), new_id(), actor.name, actor.token_id),
    )


async def create_issues(database: Database, rows: Sequence[NewRow]) -> list[Issue | None]:
    """Store issues and their enrichment jobs in one statement and one commit; return the stored issues in order.

    The entry is None if the external id already exists. The statement is repeatable, because the rows have ids.
    """
    if not rows:
        return []
    task, queue = Task.ENRICH_ISSUE, QUEUE_OF[Task.ENRICH_ISSUE]
    stored = await database.fetch_repeatable(CREATE, *map(list, zip(*rows, strict=True)), task, queue)
    issues = {row["id"]: build_issue(row) for row in stored}
    omitted = [row[0] for row in rows if row[0] not in issues]
    if omitted:
        try:
            found = await database.fetch(_GET_SEVERAL, omitted)
        except DatabaseUnavailable as error:
            error.may_be_committed = True  # the first statement has stored the other rows
            raise
        issues |= {row["id"]: build_issue(row) for row in found}
    database.on_commit(partial(metrics.record_created, task, queue, len(issues)))
    return [issues.get(row[0]) for row in rows]


async def find_external(database: Database, external: External) -> UUID | None:
    """Return the id of the issue with this external identity, or None."""
    found: UUID | None = await database.fetchval(_FIND_EXTERNAL, external.source, external.id)
    return found


async def get_issue(database: Database, issue_id: UUID) -> Issue | None:
    """Return the issue, or None if it does not exist or is deleted."""
    row = await database.fetchrow(GET, issue_id)
    return None if row is None else build_issue(row)


async def lock_issue(database: Database, issue_id: UUID) -> Issue | None:
    """Lock the issue until the transaction ends and return it, or None if it does not exist."""
    if await database.fetchrow(_LOCK, issue_id) is None:
        return None
    return await get_issue(database, issue_id)


async def may_be_original(database: Database, issue_id: UUID, original: UUID) -> bool:
    """Return whether the issue can be a duplicate of the original without a chain or cycle."""
    return await database.fetchrow(_MAY_BE_ORIGINAL, issue_id, original) is not None


async def change_issue(database: Database, issue_id: UUID, changes: Mapping[str, Any]) -> None:
    """Set columns of an issue, named as in `IssuePatch`. Later imports do not change them."""
    columns = ", ".join(f"{name} = ${number}" for number, name in enumerate(changes, start=3))
    await database.execute(
        f"UPDATE issue SET {columns}, edited = {EDITED.format('$2::text[]')}, updated_at = now() WHERE id = $1",
        issue_id,
        list(changes),
        *changes.values(),
    )


async def delete_issue(database: Database, issue_id: UUID) -> None:
    """Delete an issue softly: hide it, skip its jobs, and discard the results of running ones."""
    await database.execute(*DELETE_ISSUES.bind(issue_ids=[issue_id]))


def build_issue(row: asyncpg.Record) -> Issue:
    """Return the issue of a row of `select`."""
    columns: dict[str, Any] = dict(row)
    source, external_id = columns["external_source"], columns["external_id"]
    return Issue(
        **{**columns, "tags": columns["tag_list"], "confirmed_tags": columns["confirmed"]},
        external=None
        if source is None
        else ExternalRecord(
            source=source, id=external_id, url=columns["external_url"], **(columns["external_details"] or {})
        ),
        enrichment=_enrichment(row),
    )


def _enrichment(row: asyncpg.Record) -> EnrichmentState | None:
    if row["state"] is None:
        return None
    return EnrichmentState(
        status=row["state"],
        attempts=row["attempts"],
        started_at=row["started_at"] if row["state"] == RUNNING else None,
        next_retry_at=row["run_at"] if row["state"] == RETRYING else None,
        error=None if row["state"] == SUCCEEDED else row["last_error"],
    )
