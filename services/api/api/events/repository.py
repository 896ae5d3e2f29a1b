"""The SQL statements of the event stream.

Events are ordered by transaction id, then by their own id. A transaction can commit after one with a higher id. So
only transactions below the horizon are read: the oldest transaction that still runs. No event can appear below it.
The horizon includes the writing transactions of all databases of the server, and prepared ones.

A position is that of an event, not the horizon: after a crash or a failover, the server assigns the ids of lost
transactions again, but none below those of a stored event. The event's time distinguishes it from another one with
the same ids.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self
from uuid import UUID

from fastapi.sse import format_sse_event

_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_NEXT = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
"""The next transaction id. A visible event has a lower one, unless a dump of another server was restored."""
_CREATED_US = "(extract(epoch FROM created_at) * 1000000)::bigint"
_READ = f"""
SELECT transaction_id, id, {_CREATED_US}, kind, issue_id, job_id, task, state FROM event
WHERE (transaction_id, id) > ($1, $2) AND transaction_id < {_HORIZON}
ORDER BY transaction_id, id LIMIT $3
"""
_LAST = f"""
SELECT transaction_id, id, {_CREATED_US} FROM event WHERE transaction_id < {_HORIZON}
ORDER BY transaction_id DESC, id DESC LIMIT 1
"""
_IS_STORED = f"SELECT EXISTS (SELECT FROM event WHERE (transaction_id, id) = ($1, $2) AND {_CREATED_US} = $3)"
_COUNT_DELAYED = f"""
SELECT count(*) FROM event WHERE transaction_id >= {_HORIZON} AND transaction_id < {_NEXT}
HAVING min(created_at) < now() - $1 * interval '1 s'
"""
# Reads only what it may delete, by the key, because a busy hour has millions of rows. The last old row stays, so
# that a client that stopped there can resume.
_DELETE_OLD = f"""
WITH deleted AS (
    DELETE FROM event WHERE (transaction_id, id) < (
        SELECT transaction_id, id FROM (
            SELECT transaction_id, id, created_at FROM event WHERE transaction_id < {_NEXT}
            ORDER BY transaction_id, id LIMIT $2
        ) oldest WHERE created_at < now() - $1 * interval '1 s'
        ORDER BY transaction_id DESC, id DESC LIMIT 1
    ) RETURNING 1
)
SELECT count(*) FROM deleted
"""
_DELETE_OF_OTHER_SERVER = f"""
WITH deleted AS (
    DELETE FROM event WHERE (transaction_id, id) IN (
        SELECT transaction_id, id FROM event WHERE transaction_id >= {_NEXT} LIMIT $1
    ) RETURNING 1
)
SELECT count(*) FROM deleted
"""


class Position(NamedTuple):
    """A position in the stream, written as an event id such as `4711-12-1795600510304127`."""

    transaction_id: int
    id: int
    created_us: int
    """Microseconds since 1970."""

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Parse an event id; return None if it is not valid."""
        parts = (text or "").split("-")
        if len(parts) != len(cls._fields) or not all(part.isascii() and part.isdecimal() for part in parts):
            return None
        position = cls(*map(int, parts))
        return position if max(position) < 2**63 else None

    def __str__(self) -> str:
        return "-".join(map(str, self))


BEFORE_ALL = Position(0, 0, 0)


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


async def get_last(source: Source) -> Position:
    """Return the position of the last event, or `BEFORE_ALL`: every later commit comes after it."""
    row = await source.fetchrow(_LAST)
    return BEFORE_ALL if row is None else Position(*row)


async def is_stored(source: Source, position: Position) -> bool:
    """Return whether the event of the position is stored on this server, so that a stream can resume after it."""
    return bool(await source.fetchval(_IS_STORED, *position))


async def count_delayed(source: Source, seconds: float) -> int:
    """Return the number of events that wait for an older transaction, or 0 if none has waited for that time."""
    return await source.fetchval(_COUNT_DELAYED, seconds) or 0


async def read(source: Source, after: Position, limit: int) -> list[Event]:
    """Return at most `limit` events after the position, in order."""
    rows = await source.fetch(_READ, after.transaction_id, after.id, limit)
    return [Event(Position(*row[:3]), *row[3:]) for row in map(tuple, rows)]


async def delete_old(source: Source, older_than_s: float, limit: int) -> int:
    """Delete at most `limit` events older than `older_than_s`; return the number of deleted events."""
    deleted: int = await source.fetchval(_DELETE_OLD, older_than_s, limit)
    return deleted


async def delete_of_other_server(source: Source, limit: int) -> int:
    """Delete at most `limit` events that were restored from another server; return their number."""
    deleted: int = await source.fetchval(_DELETE_OF_OTHER_SERVER, limit)
    return deleted
