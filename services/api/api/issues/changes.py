"""Changes an issue as a person asks, in one transaction."""

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
    """Apply a merge patch, under the request's `If-Match`; return the issue as it is then, None if there is none.

    What is already as the patch says changes nothing, not even `updated_at`.
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
        await record(database, "issue.changed", issue_id, **_told(changes))
        if TEXT & changes.keys():
            await schedule_rerun(database, issue_id, unfinished, request.app.state.settings.reenrich_after_seconds)
        return await repository.get_issue(database, issue_id)


async def _check_original(database: Database, issue_id: UUID, changes: dict[str, Any]) -> None:
    original = changes.get("duplicate_of")
    if original is not None and not await repository.may_be_original(database, issue_id, original):
        raise invalid(
            ("body", "duplicate_of"),
            "duplicate_of",
            "The other issue should exist and be no duplicate, and this one should have no duplicates itself",
        )


def _told(changes: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit log keeps of changes: texts may be long, that they changed is enough."""
    return {name: None if name in TEXT else value and str(value) for name, value in changes.items()}
