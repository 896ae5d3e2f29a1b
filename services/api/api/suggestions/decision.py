"""Apply a user's decision on suggestions, in one transaction."""

from collections.abc import Collection, Sequence
from uuid import UUID

from fastapi import HTTPException

from api.access.confirmation import may_read
from api.audit_trail import record
from api.database import Database
from api.enrichment.repository import get_newest
from api.enrichment.schemas import Enrichment
from api.issues.repository import get_issue, lock_issue
from api.issues.schemas import Issue
from api.problems import invalid, require_found
from api.suggestions import repository
from api.suggestions.schemas import Choice
from contracts.states import TagVerdict
from contracts.validation import format_value
from contracts.vocabulary import MAX_TAGS, TypeTag

_TYPES = frozenset(TypeTag)


async def decide(database: Database, issue_id: UUID, choice: Choice | None, verdict: TagVerdict) -> Issue:
    """Accept or reject suggestions of the newest run; without a choice, all that were not rejected.

    An accepted tag is set and a rejected one removed; later runs do not change that. When every suggested tag has
    a decision, all tags of the issue count as confirmed, and the project's models learn from them. Raise a 409
    error if there are no suggestions, and a 422 error for a choice that is not a suggestion.
    """
    async with database.transaction():
        issue = require_found(await lock_issue(database, issue_id), f"issue {issue_id}")
        enrichment = await get_newest(database, issue_id)
        if enrichment is None:
            raise HTTPException(409, "There are no suggestions yet. Wait until an enrichment run finishes.")
        chosen = _select_not_rejected(enrichment) if choice is None else choice
        _check(chosen, enrichment)
        await _set(database, issue, enrichment, chosen, verdict)
        await record(database, f"suggestions.{verdict}", issue_id, tags=chosen.tags, priority=chosen.priority)
        changed = await get_issue(database, issue_id)
        assert changed is not None
        return changed


def apply_decision(current: Sequence[str], accepted: Collection[str], rejected: Collection[str]) -> list[str]:
    """Return an issue's tags after a decision; an accepted type replaces another type."""
    replaced = _TYPES.difference(accepted) if _TYPES.intersection(accepted) else frozenset()
    kept = [tag for tag in current if tag not in rejected and tag not in replaced]
    return [*kept, *(tag for tag in accepted if tag not in kept)]


def _select_not_rejected(enrichment: Enrichment) -> Choice:
    tags = [tag.name for tag in enrichment.tags if tag.verdict is not TagVerdict.REJECTED]
    has_priority = enrichment.priority is not None and enrichment.priority.verdict is not TagVerdict.REJECTED
    return Choice.model_construct(tags=tags, priority=has_priority)


def _check(chosen: Choice, enrichment: Enrichment) -> None:
    suggested = {tag.name for tag in enrichment.tags}
    for number, tag in enumerate(chosen.tags):
        if tag not in suggested:
            known = ", ".join(sorted(suggested)) or "none"
            detail = f"{format_value(tag)} is not a suggestion."
            if may_read():
                detail += f" The suggestions are: {known}."
            raise invalid(("body", "tags", number), "not_suggested", detail)
    if chosen.priority and enrichment.priority is None:
        raise invalid(("body", "priority"), "not_suggested", "The newest run suggests no priority. Omit priority.")


async def _set(
    database: Database, issue: Issue, enrichment: Enrichment, chosen: Choice, verdict: TagVerdict
) -> None:
    is_accepted = verdict is TagVerdict.ACCEPTED
    tags = apply_decision(issue.tags, chosen.tags if is_accepted else [], [] if is_accepted else chosen.tags)
    if len(tags) > MAX_TAGS:
        raise invalid(("body", "tags"), "too_long", f"The issue would have more than {MAX_TAGS} tags. Use fewer.")
    suggested = enrichment.priority if chosen.priority else None
    await repository.set_chosen(
        database,
        issue.id,
        tags,
        suggested.value if suggested and is_accepted else None,
        is_confirmed=all(tag.verdict or tag.name in chosen.tags for tag in enrichment.tags),
    )
    if is_accepted:
        await repository.delete_verdicts(database, issue.id, [tag for tag in issue.tags if tag not in tags])
    confidences = {tag.name: tag.confidence for tag in enrichment.tags if tag.name in chosen.tags}
    await repository.store_verdict(database, issue.id, verdict, confidences)
    if suggested is not None:
        await repository.store_priority_verdict(database, issue.id, suggested.value, verdict)
