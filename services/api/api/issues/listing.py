"""Lists of issues: filtered, searched, sorted and paginated by keyset, each with an index.

A search ranks only the newest `RANKED_MAX` matches, which bounds the cost of frequent words. It reads the newest
issues first; if few of them match, it uses the index of words. The planner cannot choose between the two: it
estimates a phrase like its separate words, and does not know that a word is only in old issues.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from pydantic import Field

from api.database import Database
from api.issues.repository import NEEDS_REVIEW, build_issue, select
from api.issues.schemas import Issue, IssueQuery
from api.timestamps import CursorTime, to_utc
from contracts.names import Task
from contracts.states import PRIORITY_RANK, IssueSort, JobState, Priority

RANKED_MAX = 500
"""Newest matches that are ranked."""
DEPTHS = (2000, 50_000)
"""Newest issues that a search reads before it uses the index of words, as long as 1 % of them match."""
TOTAL_MAX = 10_000
"""Issues up to which a total is exact, which bounds its cost."""

_Rank = Annotated[int, Field(ge=1, le=len(Priority))]


@dataclass(frozen=True, slots=True)
class Order:
    """A sort order: the SQL expressions of its key, the columns of their values, and the type of the key."""

    expressions: tuple[str, ...]
    columns: tuple[str, ...]
    key: Any
    is_descending: bool

    @property
    def sql(self) -> str:
        """The ORDER BY clause."""
        direction = " DESC" if self.is_descending else ""
        return ", ".join(f"{expression}{direction}" for expression in self.expressions)


_CREATED = (("created_at", "id"), ("created_at", "id"), tuple[CursorTime, UUID])
_UPDATED = (("updated_at", "id"), ("updated_at", "id"), tuple[CursorTime, UUID])
_PRIORITY = (
    (PRIORITY_RANK, "created_at", "id"),
    ("priority_rank", "created_at", "id"),
    tuple[_Rank, CursorTime, UUID],
)
_SCORE = (
    ("score", "created_at", "id"),
    ("score", "created_at", "id", "as_of"),
    tuple[float, CursorTime, UUID, CursorTime],
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
class ListedIssue:
    """An issue of a list with its sort key."""

    issue: Issue
    key: tuple[Any, ...]


class _Statement:
    """Conditions and the values of their parameters."""

    def __init__(self) -> None:
        self.conditions = ["deleted_at IS NULL"]
        self.values: list[Any] = []

    def add_value(self, value: Any) -> str:
        """Add a value and return its parameter, such as `$1`."""
        self.values.append(value)
        return f"${len(self.values)}"

    def add_condition(self, condition: str, value: Any) -> None:
        """Add a condition with `{}` for the value, unless the value is None or empty."""
        if value is not None and value != []:
            self.conditions.append(condition.format(self.add_value(value)))

    @property
    def sql(self) -> str:
        return " AND ".join(self.conditions)

    @property
    def bounds(self) -> str:
        """The conditions that the index of the creation times bounds."""
        return " AND ".join(
            each for each in self.conditions if each.startswith(("deleted_at", "created_at", "(created_at"))
        )


# The state is a literal, not a parameter, so that the planner can use a partial index of the ledger.
_STATE = f"""EXISTS (
    SELECT FROM job WHERE job.issue_id = issue.id AND task = '{Task.ENRICH_ISSUE}' AND state = '{{state}}'
    AND NOT EXISTS (
        SELECT FROM job newer WHERE newer.issue_id = job.issue_id AND newer.task = job.task AND newer.id > job.id
    )
)"""


async def list_issues(
    database: Database, query: IssueQuery, words: str | None, after: Any, limit: int
) -> list[ListedIssue]:
    """Return at most `limit` issues of the query after the sort key `after`.

    `words` is the text of `search.compile_terms`, or None for a query without words.
    """
    order = ORDERS[query.order]
    return [
        ListedIssue(build_issue(row), _key(row, order))
        for row in await _fetch(database, query, words, after, limit)
    ]


async def _fetch(
    database: Database, query: IssueQuery, words: str | None, after: Any, limit: int
) -> list[asyncpg.Record]:
    for depth in DEPTHS if query.order is IssueSort.RELEVANCE else ():
        sql, values = build_statement(query, words, after, limit, depth)
        rows = await database.fetch(sql, *values)
        matches = rows[0]["matches"] if rows else 0
        if matches == RANKED_MAX:
            return rows
        if matches < depth // 100:
            break
    sql, values = build_statement(query, words, after, limit)
    return await database.fetch(sql, *values)


async def count_issues(database: Database, query: IssueQuery, words: str | None) -> int:
    """Return the number of issues that match the query, or `TOTAL_MAX` + 1 if there are more."""
    filtered = _build_filters(query)
    if words is not None:
        filtered.conditions.append(f"lexemes @@ {_literal(words)}")
    counted = f"SELECT FROM issue WHERE {filtered.sql} LIMIT {TOTAL_MAX + 1}"
    count: int = await database.fetchval(f"SELECT count(*) FROM ({counted}) counted", *filtered.values)
    return count


def build_statement(
    query: IssueQuery, words: str | None, after: Any, limit: int, depth: int | None = None
) -> tuple[str, list[Any]]:
    """Return the SQL of a page and its parameters. With `depth`, it searches only the newest issues."""
    order = ORDERS[query.order]
    filtered = _build_filters(query)
    if query.order is IssueSort.RELEVANCE:
        source = _build_ranked_source(filtered, words or "", after[3] if after else None, depth)
        filtered.conditions = ["true"]
    else:
        source = f"SELECT *, {PRIORITY_RANK} AS priority_rank FROM issue"
        if words is not None:
            filtered.conditions.append(f"lexemes @@ {_literal(words)}")
    if after:
        place = ", ".join(filtered.add_value(value) for value in after[: len(order.expressions)])
        comparison = "<" if order.is_descending else ">"
        filtered.conditions.append(f"({', '.join(order.expressions)}) {comparison} ({place})")
    bound = filtered.add_value(limit)
    page = f"(SELECT * FROM ({source}) issue WHERE {filtered.sql} ORDER BY {order.sql} LIMIT {bound})"
    keys = [column for column in order.columns if column not in Issue.model_fields]
    if query.order is IssueSort.RELEVANCE:
        keys.append("matches")
    return f"{select(page, *keys)} ORDER BY {order.sql}", filtered.values


def _build_filters(query: IssueQuery) -> _Statement:
    statement = _Statement()
    statement.add_condition("status = {}", query.status)
    statement.add_condition(f"{PRIORITY_RANK} = {{}}", _rank(query.priority))
    statement.add_condition("project = {}", query.project)
    statement.add_condition("tag_list @> {}::text[]", query.tag)
    statement.add_condition("external_source = {}", query.external_source)
    statement.add_condition("external_id = {}", query.external_id)
    statement.add_condition("created_at > {}", to_utc(query.created_after))
    statement.add_condition("updated_at > {}", to_utc(query.updated_after))
    if query.enrichment is not None:
        statement.conditions.append(_STATE.format(state=JobState(query.enrichment).value))
    if query.needs_review is not None:
        statement.conditions.append(NEEDS_REVIEW if query.needs_review else f"NOT {NEEDS_REVIEW}")
    for each in query.search.filters:
        condition = each.condition.format(statement.add_value(each.value))
        statement.conditions.append(f"({condition}) IS NOT TRUE" if each.is_excluded else condition)
    return statement


def _literal(words: str) -> str:
    """Return the query as a literal; of a parameter, the planner cannot estimate how frequent its words are."""
    return "'{}'::tsquery".format(words.replace("'", "''"))


def _build_ranked_source(statement: _Statement, words: str, as_of: datetime | None, depth: int | None) -> str:
    """Return the SQL of the newest matches with scores; `as_of` pins later pages to the first page's time."""
    query = _literal(words)
    timestamp = "now()" if as_of is None else f"{statement.add_value(as_of)}::timestamptz"
    newest_first = "ORDER BY created_at DESC, id DESC LIMIT"
    matching = f"lexemes @@ {query} AND {statement.sql}"
    # The planner does not reorder a subquery with OFFSET or LIMIT.
    if depth is None:
        matches = f"SELECT * FROM issue WHERE {matching} AND created_at <= {timestamp} OFFSET 0"
    else:
        bounds = f"{statement.bounds} AND created_at <= {timestamp}"
        newest = f"SELECT * FROM issue WHERE {bounds} {newest_first} {depth}"
        matches = f"SELECT * FROM ({newest}) issue WHERE {matching}"
    return f"""
SELECT *, ts_rank(lexemes, {query}, 1)::float8 AS score, {timestamp} AS as_of, count(*) OVER () AS matches
FROM (SELECT * FROM ({matches}) matching {newest_first} {RANKED_MAX}) ranked
"""


def _rank(priority: Priority | None) -> int | None:
    return None if priority is None else list(Priority).index(priority) + 1


def _key(row: asyncpg.Record, order: Order) -> tuple[Any, ...]:
    return tuple(row[column] for column in order.columns)
