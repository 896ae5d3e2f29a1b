"""The SQL statements of the event stream.

Events are ordered by transaction id, then by their own id. A transaction can commit after one with a higher id. So
only transactions below the horizon are read: the oldest transaction that still runs. No event can appear below it.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self
from uuid import UUID

from fastapi.sse import format_sse_event

_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_READ = f"""
SELECT transaction_id, id, kind, issue_id, job_id, task, state FROM event
WHERE (transaction_id, id) > ($1, $2) AND transaction_id < {_HORIZON}
ORDER BY transaction_id, id LIMIT $3
"""
_HAS_ALL_SINCE = f"""
SELECT $1 <= {_HORIZON} AND EXISTS (SELECT FROM event WHERE (transaction_id, id) <= ($1, $2))
"""
# Reads only what it may delete, by the key, because a busy hour has millions of rows. The last old row stays, so
# that a client that stopped there can resume.
_DELETE_OLD = """
WITH deleted AS (
    DELETE FROM event WHERE (transaction_id, id) < (
        SELECT transaction_id, id FROM (
            SELECT transaction_id, id, created_at FROM event ORDER BY transaction_id, id LIMIT $2
        ) oldest WHERE created_at < now() - $1 * interval '1 s'
        ORDER BY transaction_id DESC, id DESC LIMIT 1
    ) RETURNING 1
)
SELECT count(*) FROM deleted
"""


class Position(NamedTuple):
    """A position in the stream, written as an event id such as `4711-12`."""

    transaction_id: int
    id: int

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Parse an event id; return None if it is not valid."""
        transaction, _, number = (text or "").partition("-")
        if not (transaction.isascii() and transaction.isdecimal() and number.isascii() and number.isdecimal()):
            return None
        position = cls(int(transaction), int(number))
        return position if max(position) < 2**63 else None

    def __str__(self) -> str:
        return f"{self.transaction_id}-{self.id}"


@dataclass(frozen=True)
class Event:
    """A change event."""

    position: Position
    kind: str
    issue_id: UUID | None
    job_id: UUID | None
    task: str | None
    state: str | None

    @cached_property
    def frame(self) -> bytes:
        """The encoded event, encoded once for all listeners."""
        data = {"issue_id": self.issue_id, "job_id": self.job_id, "task": self.task, "state": self.state}
        known = {name: value for name, value in data.items() if value is not None}
        return format_sse_event(event=self.kind, data_str=json.dumps(known, default=str), id=str(self.position))


class Source(Protocol):
    """The pool, or a connection."""

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """Return the rows."""

    async def fetchrow(self, sql: str, *values: Any) -> Any:
        """Return the first row."""

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """Return the first row's first column."""


async def get_horizon(source: Source) -> Position:
    """Return the current end of the stream: every later commit comes after it."""
    return Position(await source.fetchval(f"SELECT {_HORIZON}"), 0)


async def has_all_since(source: Source, position: Position) -> bool:
    """Return whether every event after the position is still stored, and the position is from this database."""
    return bool(await source.fetchval(_HAS_ALL_SINCE, *position))


async def read(source: Source, after: Position, limit: int) -> list[Event]:
    """Return at most `limit` events after the position, in order."""
    rows = await source.fetch(_READ, *after, limit)
    return [Event(Position(row[0], row[1]), *row[2:]) for row in map(tuple, rows)]


async def delete_old(source: Source, older_than_s: float, limit: int) -> int:
    """Delete at most `limit` events older than `older_than_s`; return the number of deleted events."""
    deleted: int = await source.fetchval(_DELETE_OLD, older_than_s, limit)
    return deleted
