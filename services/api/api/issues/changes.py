"""Apply a user's change to an issue, in one transaction."""

from typing import Any
from uuid import UUID

from starlette.requests import Request

from api.audit_trail import record
from api.database import Database
from api.etag import require_match
from api.issues import repository
from api.issues.schemas import Issue, IssuePatch
from api.problems import invalid
from api.runs.repository import lock_unfinished, schedule_rerun

TEXT = {"title", "description"}


async def apply_patch(database: Database, issue_id: UUID, patch: IssuePatch, request: Request) -> Issue | None:
    """Apply a merge patch if the request's `If-Match` allows it; return the issue, or None if it does not exist.

    A patch with only current values changes nothing, not even `updated_at`.
    """
    async with database.transaction():
        unfinished = await lock_unfinished(database, issue_id)
        issue = await repository.lock_issue(database, issue_id)
        if issue is None:
            return None
        require_match(request, issue)
        changes = {name: value for name, value in patch.changes().items() if value != getattr(issue, name)}
        if not changes:
            return issue
        await _check_original(database, issue_id, changes)
        await repository.change_issue(database, issue_id, changes)
        await record(database, "issue.changed", issue_id, **_audit_detail(changes))
        if TEXT & changes.keys():
            await schedule_rerun(database, issue_id, unfinished, request.app.state.settings.reenrich_after_seconds)
        return await repository.get_issue(database, issue_id)


async def _check_original(database: Database, issue_id: UUID, changes: dict[str, Any]) -> None:
    original = changes.get("duplicate_of")
    if original is not None and not await repository.may_be_original(database, issue_id, original):
        raise invalid(
            ("body", "duplicate_of"),
            "duplicate_of",
            "The original must exist and not be a duplicate, and this issue must not have duplicates.",
        )


def _audit_detail(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes for the audit log, without the texts, which may be long."""
    return {name: None if name in TEXT else value and str(value) for name, value in changes.items()}
