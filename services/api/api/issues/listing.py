"""Lists of issues: filtered, searched, sorted, by keyset; each read from an index.

A search ranks the newest `RANKED_MAX` matches: a word that a third of all issues have would cost a rank for each.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from pydantic import AwareDatetime, Field

from api.database import Database
from api.issues.repository import NEEDS_REVIEW, issue_of, select
from api.issues.schemas import Issue, IssueQuery
from api.timestamps import to_utc
from contracts.names import Task
from contracts.states import IssueSort, JobState, Priority
from contracts.tables import PRIORITY_RANK

RANKED_MAX = 1000

_QUERY = "websearch_to_tsquery('english', {words})"

_Rank = Annotated[int, Field(ge=1, le=len(Priority))]


@dataclass(frozen=True, slots=True)
class Order:
    """A sort: the expressions of its key, the columns that hold their values, and the key's type in a cursor."""

    expressions: tuple[str, ...]
    columns: tuple[str, ...]
    key: Any
    is_descending: bool

    @property
    def sql(self) -> str:
        """The sort's ORDER BY."""
        direction = " DESC" if self.is_descending else ""
        return ", ".join(f"{expression}{direction}" for expression in self.expressions)


_CREATED = (("created_at", "id"), ("created_at", "id"), tuple[AwareDatetime, UUID])
_UPDATED = (("updated_at", "id"), ("updated_at", "id"), tuple[AwareDatetime, UUID])
_PRIORITY = (
    (PRIORITY_RANK, "created_at", "id"),
    ("priority_rank", "created_at", "id"),
    tuple[_Rank, AwareDatetime, UUID],
)
_SCORE = (
    ("score", "created_at", "id"),
    ("score", "created_at", "id", "as_of"),
    tuple[float, AwareDatetime, UUID, AwareDatetime],
)

ORDERS = {
    IssueSort.CREATED: Order(*_CREATED, is_descending=False),
    IssueSort.NEWEST: Order(*_CREATED, is_descending=True),
    IssueSort.UPDATED: Order(*_UPDATED, is_descending=False),
    IssueSort.LATEST: Order(*_UPDATED, is_descending=True),
    IssueSort.PRIORITY: Order(*_PRIORITY, is_descending=False),
    IssueSort.MOST_URGENT: Order(*_PRIORITY, is_descending=True),
    IssueSort.RELEVANCE: Order(*_SCORE, is_descending=True),
}


@dataclass(frozen=True, slots=True)
class Listed:
    """An issue of a list, and the sort key of its place."""

    issue: Issue
    key: tuple[Any, ...]


class _Statement:
    """Conditions and the values of their parameters."""

    def __init__(self) -> None:
        self.conditions = ["deleted_at IS NULL"]
        self.values: list[Any] = []

    def value(self, value: Any) -> str:
        """Return the parameter that stands for the value."""
        self.values.append(value)
        return f"${len(self.values)}"

    def where(self, condition: str, value: Any) -> None:
        """Add a condition on a value, written as `{}` in it; None asks for nothing."""
        if value is not None and value != []:
            self.conditions.append(condition.format(self.value(value)))

    @property
    def sql(self) -> str:
        return " AND ".join(self.conditions)


# The state's own word, not a parameter: so the planner sees which partial index of the ledger has the few.
_STATE = f"""EXISTS (
    SELECT FROM job WHERE job.issue_id = issue.id AND task = '{Task.ENRICH_ISSUE}' AND state = '{{state}}'
    AND NOT EXISTS (
        SELECT FROM job newer WHERE newer.issue_id = job.issue_id AND newer.task = job.task AND newer.id > job.id
    )
)"""


async def list_issues(database: Database, query: IssueQuery, after: Any, limit: int) -> list[Listed]:
    """Return at most `limit` issues of the query that come after the key `after`."""
    sql, values = statement(query, after, limit)
    order = ORDERS[query.order]
    return [Listed(issue_of(row), _key(row, order)) for row in await database.fetch(sql, *values)]


def statement(query: IssueQuery, after: Any, limit: int) -> tuple[str, list[Any]]:
    """Return the SQL of a page and its parameters."""
    order = ORDERS[query.order]
    asked = _filtered(query)
    if query.order is IssueSort.RELEVANCE:
        source = _ranked(asked, query.q, as_of=after[3] if after else None)
        asked.conditions = ["true"]
    else:
        source = f"SELECT *, {PRIORITY_RANK} AS priority_rank FROM issue"
        if query.q is not None:
            asked.where(f"lexemes @@ {_QUERY.format(words='{}')}", query.q)
    if after:
        place = ", ".join(asked.value(value) for value in after[: len(order.expressions)])
        comparison = "<" if order.is_descending else ">"
        asked.conditions.append(f"({', '.join(order.expressions)}) {comparison} ({place})")
    page = f"(SELECT * FROM ({source}) issue WHERE {asked.sql} ORDER BY {order.sql} LIMIT {asked.value(limit)})"
    keys = [column for column in order.columns if column not in Issue.model_fields]
    return f"{select(page, *keys)} ORDER BY {order.sql}", asked.values


def _filtered(query: IssueQuery) -> _Statement:
    asked = _Statement()
    asked.where("status = {}", query.status)
    asked.where(f"{PRIORITY_RANK} = {{}}", _rank(query.priority))
    asked.where("project = {}", query.project)
    asked.where("tag_list @> {}::text[]", query.tag)
    asked.where("created_at > {}", to_utc(query.created_after))
    asked.where("updated_at > {}", to_utc(query.updated_after))
    if query.enrichment is not None:
        asked.conditions.append(_STATE.format(state=JobState(query.enrichment).value))
    if query.needs_review is not None:
        asked.conditions.append(NEEDS_REVIEW if query.needs_review else f"NOT {NEEDS_REVIEW}")
    return asked


def _ranked(asked: _Statement, words: str | None, as_of: datetime | None) -> str:
    """Return the SQL of the newest matches with their scores; pages after the first see what that one saw."""
    query = _QUERY.format(words=asked.value(words))
    timestamp = "now()" if as_of is None else f"{asked.value(as_of)}::timestamptz"
    return f"""
SELECT *, ts_rank(lexemes, {query}, 1)::float8 AS score, {timestamp} AS as_of
FROM (
    SELECT * FROM issue WHERE {asked.sql} AND lexemes @@ {query} AND created_at <= {timestamp}
    ORDER BY created_at DESC, id DESC LIMIT {RANKED_MAX}
) newest
"""


def _rank(priority: Priority | None) -> int | None:
    return None if priority is None else list(Priority).index(priority) + 1


def _key(row: asyncpg.Record, order: Order) -> tuple[Any, ...]:
    return tuple(row[column] for column in order.columns)
