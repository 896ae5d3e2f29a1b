"""Operations in the database."""

from typing import Any
from uuid import UUID

import asyncpg

from api.database import Database
from api.dispatch.pruning import prune_now
from api.operations.schemas import Operation, OperationSummary
from contracts.states import OperationState

_SUMMARY = """
id, CASE WHEN cancelled_at IS NULL THEN operation.state ELSE 'cancelled' END AS state,
is_dry_run, format, encoding, export, total, done, created, updated, unchanged, skipped, failed,
actor, created_at, started_at, finished_at,
CASE WHEN operation.state = 'running' THEN extract(epoch FROM advanced_at - started_at)::float8 END AS elapsed_s
"""
_GET = f"SELECT {_SUMMARY}, errors, errors_omitted, problems FROM operation WHERE id = $1"
_CANCEL = """
WITH deleted_rows AS (DELETE FROM import_row WHERE operation_id = $1)
UPDATE operation SET state = 'finished', cancelled_at = now(), finished_at = now() WHERE id = $1
"""
_LOCK = "SELECT state, cancelled_at FROM operation WHERE id = $1 FOR NO KEY UPDATE"
_HAS_ERASURES = "SELECT EXISTS (SELECT FROM erasure WHERE finished_at IS NULL)"
_PAGE = f"SELECT {_SUMMARY} FROM operation WHERE id < $1 ORDER BY id DESC LIMIT $2"


async def get_operation(database: Database, operation_id: UUID) -> Operation | None:
    """Return the operation, or None if it does not exist."""
    row = await database.fetchrow(_GET, operation_id)
    return None if row is None else Operation(**_members(row))


async def lock_operation(database: Database, operation_id: UUID) -> str | None:
    """Wait for the end of a running batch, and lock the operation; return its state, or None."""
    row = await database.fetchrow(_LOCK, operation_id)
    if row is None:
        return None
    return OperationState.CANCELLED if row["cancelled_at"] else str(row["state"])


async def cancel_operation(database: Database, operation_id: UUID) -> None:
    """Finish a locked operation without its remaining rows."""
    await database.execute(_CANCEL, operation_id)
    await resume_erasures(database)


async def resume_erasures(database: Database) -> None:
    """Start pruning if there are erasures, which wait for operations that began before them."""
    if await database.fetchval(_HAS_ERASURES):
        await prune_now(database)


async def list_operations(database: Database, before: UUID, limit: int) -> list[OperationSummary]:
    """Return at most `limit` operations, newest first, older than `before`."""
    rows = await database.fetch(_PAGE, before, limit)
    return [OperationSummary(**_members(row)) for row in rows]


def _members(row: asyncpg.Record) -> dict[str, Any]:
    columns = dict(row)
    done, elapsed_s = columns["done"], columns.pop("elapsed_s")
    if elapsed_s and done:
        columns["rows_per_s"] = done / elapsed_s
        columns["remaining_s"] = (columns["total"] - done) * elapsed_s / done
    return {"dry_run": columns.pop("is_dry_run"), "requested_by": columns.pop("actor"), **columns}
