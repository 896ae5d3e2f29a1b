"""Loads the training examples: issues with confirmed tags."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from contracts.tables import Issue
from contracts.vocabulary import AreaTag, TypeTag

EXAMPLES_MAX = 3000
"""Maximum number of examples, the newest first. It limits the training time, and habits change."""


@dataclass(frozen=True, slots=True)
class ConfirmedIssue:
    """An issue and its confirmed tags."""

    issue_id: UUID
    title: str
    description: str
    tags: frozenset[str]
    confirmed_at: datetime

    @property
    def type(self) -> TypeTag | None:
        """The type of the issue, or None."""
        return next((tag for tag in TypeTag if tag in self.tags), None)

    @property
    def areas(self) -> frozenset[str]:
        """The areas of the issue. Often there are none."""
        return self.tags & set(AreaTag)


def load_confirmed_issues(session: Session, project: str) -> list[ConfirmedIssue]:
    """Return the project's newest confirmed issues, at most `EXAMPLES_MAX`, in the order of their ids."""
    newest = (
        select(Issue.id, Issue.title, Issue.description, Issue.tag_list, Issue.tags_confirmed_at)
        .where(Issue.project == project, Issue.tags_confirmed_at.is_not(None), Issue.deleted_at.is_(None))
        .order_by(Issue.tags_confirmed_at.desc())
        .limit(EXAMPLES_MAX)
    )
    examples = [
        ConfirmedIssue(row.id, row.title, row.description, frozenset(row.tag_list), row.tags_confirmed_at)
        for row in session.execute(newest)
    ]
    return sorted(examples, key=lambda example: example.issue_id)
