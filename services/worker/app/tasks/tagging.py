"""Decides which tags a run may write to an issue. It respects tags that a person set, accepted or rejected."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Uuid, any_, bindparam, select

from app.ledger.errors import SkipJob
from app.settings import settings
from contracts.states import TagVerdict
from contracts.tables import Issue, TagFeedback
from contracts.vocabulary import MAX_TAGS, TypeTag

SET_BY_PEOPLE = frozenset({TagVerdict.ACCEPTED, TagVerdict.ADDED})

_IDS = bindparam("issues", type_=ARRAY(Uuid()))
# In the order of deletions, so that two transactions cannot block each other.
_LOCK = (
    select(Issue.id, Issue.tag_list, Issue.tags_confirmed_at)
    .where(Issue.id == any_(_IDS), Issue.deleted_at.is_(None))
    .order_by(Issue.id)
    .with_for_update(key_share=True)
)
_FEEDBACK = select(TagFeedback.issue_id, TagFeedback.tag, TagFeedback.verdict).where(
    TagFeedback.issue_id == any_(_IDS)
)


def choose_tags(connection: Connection, suggested: Mapping[UUID, Sequence[str]]) -> dict[UUID, list[str]]:
    """Return the tags after a run, by issue, and lock the issues so that they stay correct until the commit.

    `suggested` has the suggested tags by issue. Raises SkipJob if an issue was deleted during the run.
    """
    ids = list(suggested)
    issues = connection.execute(_LOCK, {"issues": ids}).all()
    if len(issues) < len(ids):
        raise SkipJob("the issue was deleted during the run")
    chosen: dict[UUID, list[str]] = {issue.id: issue.tag_list for issue in issues}
    open_ids = [issue.id for issue in issues if issue.tags_confirmed_at is None]
    if settings.ai != "auto" or not open_ids:
        return chosen
    # A separate statement, because a statement that waited for a lock reads other tables from an older snapshot.
    verdicts: dict[UUID, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(_FEEDBACK, {"issues": open_ids}):
        verdicts[row.issue_id][row.tag] = row.verdict
    for issue_id in open_ids:
        chosen[issue_id] = merge_tags(chosen[issue_id], suggested[issue_id], verdicts[issue_id])
    return chosen


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
