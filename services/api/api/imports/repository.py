"""Imports and their rows in the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

from api.access.principal import current_principal
from api.database import Database
from api.imports.frames import Frame
from api.operations.repository import resume_erasures
from api.operations.schemas import ERRORS_MAX, RowError
from api.request_log import request_id
from contracts.ids import new_id
from contracts.states import ImportFormat

BATCH_BYTES = 2 * 1024 * 1024
"""Maximum bytes of the rows in one batch, unless the first row alone has more."""

_BEGIN = """
INSERT INTO operation
    (id, format, is_dry_run, project, source, mapping, encoding, export, actor, actor_id, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
_STORE = """
INSERT INTO import_row (operation_id, number, line, body, fault)
SELECT $1, number, line, body, fault
FROM unnest($2::int[], $3::int[], $4::bytea[], $5::text[]) AS frame (number, line, body, fault)
"""
_SET_TOTAL = "UPDATE operation SET total = $2 WHERE id = $1"

# The lock of the row makes a cancellation wait for the end of the batch.
# One batch at a time in the installation. The lock ends with the transaction, so a crashed process holds none.
_LOCK_IMPORTS = "SELECT pg_try_advisory_xact_lock(0x15500A7)"
# Releases the lock of a process that hangs in the middle of a batch.
_LIMIT_IDLE_TRANSACTION = "SET LOCAL idle_in_transaction_session_timeout = '30s'"
_NEXT = """
SELECT id, format, is_dry_run, project, source, mapping, export, total, done, actor, actor_id, request_id,
    created + updated > 0 AS has_effect, jsonb_array_length(errors) AS errors_stored, problems
FROM operation WHERE state <> 'finished' ORDER BY advanced_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""
_ROWS = f"""
SELECT number, line, body, fault FROM (
    SELECT *, sum(octet_length(body)) OVER (ORDER BY number) AS bytes FROM import_row
    WHERE operation_id = $1 AND number > $2 AND number <= $2 + $3
) import_row WHERE number = $2 + 1 OR coalesce(bytes, 0) <= {BATCH_BYTES} ORDER BY number
"""
_EARLIER = """
SELECT DISTINCT ON (external_source, external_id) external_source, external_id, number FROM import_row
JOIN unnest($2::text[], $3::text[]) AS given (source, id) ON external_source = source AND external_id = given.id
WHERE operation_id = $1 ORDER BY external_source, external_id, number
"""
_CLEAR = """
UPDATE import_row SET body = NULL, external_source = source, external_id = processed.id
FROM unnest($2::int[], $3::text[], $4::text[]) AS processed (number, source, id)
WHERE operation_id = $1 AND import_row.number = processed.number
"""
_ADVANCE = """
UPDATE operation SET state = 'running', started_at = coalesce(started_at, now()), advanced_at = clock_timestamp(),
    done = done + $2, created = created + $3, updated = updated + $4, unchanged = unchanged + $5,
    skipped = skipped + $6, failed = failed + $7, errors = errors || $8,
    errors_omitted = errors_omitted + $9, problems = $10
WHERE id = $1
"""
_FINISH = """
WITH deleted_rows AS (DELETE FROM import_row WHERE operation_id = $1)
UPDATE operation SET state = 'finished', started_at = coalesce(started_at, now()), finished_at = now()
WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class Import:
    """An unfinished import."""

    id: UUID
    format: ImportFormat
    is_dry_run: bool
    project: str | None
    source: str | None
    mapping: dict[str, Any] | None
    export: str | None
    total: int
    done: int
    has_effect: bool
    """Whether it has changed any issue."""
    errors_stored: int
    problems: list[dict[str, Any]]
    actor: str
    actor_id: UUID | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class StagedRow:
    """A stored row that awaits processing; a row with a fault has no body."""

    number: int
    line: int | None
    body: bytes | None
    fault: str | None


@dataclass(slots=True)
class Tally:
    """Result of a batch: the number of rows by outcome, and the errors of failed rows."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    errors: list[RowError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """Options of an import request, and what its file is."""

    format: ImportFormat
    is_dry_run: bool
    project: str | None
    source: str | None
    mapping: dict[str, Any]
    encoding: str | None
    export: str | None


async def begin(database: Database, requested: ImportRequest) -> UUID:
    """Create an operation and return its id. Store its rows in the same transaction."""
    actor, operation_id = current_principal(), new_id()
    options = [getattr(requested, option.name) for option in fields(requested)]
    await database.execute(_BEGIN, operation_id, *options, actor.name, actor.token_id, request_id())
    return operation_id


async def store(database: Database, operation_id: UUID, first: int, rows: Sequence[Frame]) -> None:
    """Store rows of the file, numbered from `first`."""
    numbers = range(first, first + len(rows))
    columns = ([getattr(row, name) for row in rows] for name in ("line", "body", "fault"))
    await database.execute(_STORE, operation_id, list(numbers), *columns)


async def set_total(database: Database, operation_id: UUID, total: int) -> None:
    """Store the number of rows of the file."""
    await database.execute(_SET_TOTAL, operation_id, total)


async def lock_imports(database: Database) -> bool:
    """Lock imports until the transaction ends; return False if another process holds the lock."""
    if not await database.fetchval(_LOCK_IMPORTS):
        return False
    await database.execute(_LIMIT_IDLE_TRANSACTION)
    return True


async def find_next_import(database: Database) -> Import | None:
    """Return the import that has waited longest, or None."""
    row = await database.fetchrow(_NEXT)
    return None if row is None else Import(**{**row, "format": ImportFormat(row["format"])})


async def fetch_next_rows(database: Database, current: Import, limit: int) -> list[StagedRow]:
    """Return the import's next rows."""
    return [StagedRow(**row) for row in await database.fetch(_ROWS, current.id, current.done, limit)]


async def find_earlier_rows(
    database: Database, operation_id: UUID, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """Return the numbers of already processed rows with these keys."""
    rows = await database.fetch(_EARLIER, operation_id, *([key[part] for key in keys] for part in (0, 1)))
    return {(row["external_source"], row["external_id"]): row["number"] for row in rows}


async def clear_rows(
    database: Database, operation_id: UUID, keys: Sequence[tuple[int, str | None, str | None]]
) -> None:
    """Delete the text of processed rows, and store their keys."""
    await database.execute(_CLEAR, operation_id, *([key[part] for key in keys] for part in (0, 1, 2)))


def group_errors(problems: Sequence[dict[str, Any]], errors: Sequence[RowError]) -> list[dict[str, Any]]:
    """Return the different errors of an import, with those of further rows."""
    groups = {(problem["pointer"], problem["detail"]): dict(problem) for problem in problems}
    for error in errors:
        key = error.pointer, error.detail
        if (group := groups.get(key)) is not None:
            group["rows"] += 1
        elif len(groups) < ERRORS_MAX:
            groups[key] = {"pointer": error.pointer, "rule": error.rule, "detail": error.detail, "rows": 1}
            groups[key]["first_row"] = error.row
    return list(groups.values())


async def advance(database: Database, current: Import, tally: Tally, rows: int) -> None:
    """Add the result of a batch to the import, and finish the import after its last row."""
    stored = tally.errors[: ERRORS_MAX - current.errors_stored]
    await database.execute(
        _ADVANCE,
        current.id,
        rows,
        *(tally.created, tally.updated, tally.unchanged, tally.skipped, tally.failed),
        [error.model_dump() for error in stored],
        len(tally.errors) - len(stored),
        group_errors(current.problems, tally.errors),
    )
    if not rows or current.done + rows >= current.total:
        await database.execute(_FINISH, current.id)
        await resume_erasures(database)
