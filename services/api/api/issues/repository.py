"""Issues in the database."""

from typing import Any
from uuid import UUID

import asyncpg

from api.database import Database
from api.issues.schemas import EnrichmentState, Issue, IssueCreate
from api.request_log import request_id
from contracts import CONTRACT_VERSION, tracing
from contracts.ids import new_id
from contracts.messages import EnrichIssue
from contracts.names import QUEUE_OF, Task
from contracts.states import JobState

_CREATE = """
WITH new_issue AS (
    INSERT INTO issue (id, project, title, description, priority) VALUES ($1, $2, $3, $4, $5) RETURNING *
), new_job AS (
    INSERT INTO job (id, task, queue, message, issue_id) VALUES ($6, $7, $8, $9, $1) RETURNING *
)
SELECT new_issue.*, state, attempts, run_at, last_error FROM new_issue, new_job
"""

_SELECT = f"""
SELECT issue.*, state, attempts, run_at, last_error
FROM issue LEFT JOIN LATERAL (
    SELECT state, attempts, run_at, last_error FROM job
    WHERE job.issue_id = issue.id AND task = '{Task.ENRICH_ISSUE}' ORDER BY job.id DESC LIMIT 1
) newest_job ON true
"""

_GET = f"{_SELECT} WHERE issue.id = $1"
_PAGE = f"{_SELECT} WHERE issue.id < $1 ORDER BY issue.id DESC LIMIT $2"


_NEWEST = UUID(int=2**128 - 1)
"""Every id is before it."""


async def create_issue(database: Database, new: IssueCreate) -> Issue:
    """Store the issue and its enrichment job in one statement and one commit; return the issue as stored."""
    issue_id, job_id = new_id(), new_id()
    message = EnrichIssue(
        contract_version=CONTRACT_VERSION,
        job_id=job_id,
        issue_id=issue_id,
        request_id=request_id(),
        traceparent=tracing.traceparent(),
    )
    row = await database.fetchrow(
        _CREATE,
        issue_id,
        new.project,
        new.title,
        new.description,
        new.priority,
        job_id,
        Task.ENRICH_ISSUE,
        QUEUE_OF[Task.ENRICH_ISSUE],
        message.as_json(),
    )
    assert row is not None
    return _issue(row)


async def get_issue(database: Database, issue_id: UUID) -> Issue | None:
    """Return the issue, None where there is none."""
    row = await database.fetchrow(_GET, issue_id)
    return None if row is None else _issue(row)


async def list_issues(database: Database, before: UUID | None, limit: int) -> list[Issue]:
    """Return at most `limit` issues, newest first, that are older than the issue `before`."""
    return [_issue(row) for row in await database.fetch(_PAGE, before or _NEWEST, limit)]


def _issue(row: asyncpg.Record) -> Issue:
    columns: dict[str, Any] = dict(row)
    return Issue(**{**columns, "tags": columns["tag_list"]}, enrichment=_enrichment(row))


def _enrichment(row: asyncpg.Record) -> EnrichmentState | None:
    if row["state"] is None:
        return None
    return EnrichmentState(
        status=row["state"],
        attempts=row["attempts"],
        next_retry_at=row["run_at"] if row["state"] == JobState.RETRYING else None,
        error=None if row["state"] == JobState.SUCCEEDED else row["last_error"],
    )
