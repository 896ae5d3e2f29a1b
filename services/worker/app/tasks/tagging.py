"""Decides which tags a run may write to an issue. It respects tags that a person set, accepted or rejected."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from app.ledger.errors import SkipJob
from app.settings import settings
from contracts.states import TagVerdict
from contracts.tables import Issue, TagFeedback
from contracts.vocabulary import MAX_TAGS, TypeTag

SET_BY_PEOPLE = frozenset({TagVerdict.ACCEPTED, TagVerdict.ADDED})

_LOCK = (
    select(Issue.tag_list, Issue.tags_confirmed_at)
    .where(Issue.id == bindparam("issue"), Issue.deleted_at.is_(None))
    .with_for_update(key_share=True)
)
_FEEDBACK = select(TagFeedback.tag, TagFeedback.verdict).where(TagFeedback.issue_id == bindparam("issue"))


def choose_tags(connection: Connection, issue_id: UUID, suggested: Sequence[str]) -> list[str]:
    """Return the issue's tags after a run, and lock its row so that they stay correct until the commit.

    Raises SkipJob if the issue was deleted during the run.
    """
    issue = connection.execute(_LOCK, {"issue": issue_id}).one_or_none()
    if issue is None:
        raise SkipJob("the issue was deleted during the run")
    if settings.ai != "auto" or issue.tags_confirmed_at is not None:
        current: list[str] = issue.tag_list
        return current
    # A separate statement, because a statement that waited for a lock reads other tables from an older snapshot.
    feedback = connection.execute(_FEEDBACK, {"issue": issue_id})
    return merge_tags(issue.tag_list, suggested, {row.tag: row.verdict for row in feedback})


def merge_tags(current: Sequence[str], suggested: Sequence[str], verdicts: Mapping[str, str]) -> list[str]:
    """Return the tags that people set, then the suggestions that were not rejected and do not contradict them."""
    kept = [tag for tag in current if verdicts.get(tag) in SET_BY_PEOPLE]
    types = set(TypeTag)
    has_type = any(tag in types for tag in kept)
    added = [
        tag
        for tag in suggested
        if tag not in kept and verdicts.get(tag) != TagVerdict.REJECTED and not (has_type and tag in types)
    ]
    return [*kept, *added][:MAX_TAGS]
