"""Operations in the database."""

from typing import Any
from uuid import UUID

import asyncpg

from api.database import Database
from api.operations.schemas import Operation, OperationSummary

_SUMMARY = """
id, state, is_dry_run, format, total, done, created, updated, unchanged, skipped, failed, actor, created_at,
started_at, finished_at
"""
_GET = f"SELECT {_SUMMARY}, errors, errors_omitted FROM operation WHERE id = $1"
_PAGE = f"SELECT {_SUMMARY} FROM operation WHERE id < $1 ORDER BY id DESC LIMIT $2"


async def get_operation(database: Database, operation_id: UUID) -> Operation | None:
    """Return the operation, or None if it does not exist."""
    row = await database.fetchrow(_GET, operation_id)
    return None if row is None else Operation(**_members(row))


async def list_operations(database: Database, before: UUID, limit: int) -> list[OperationSummary]:
    """Return at most `limit` operations, newest first, older than `before`."""
    rows = await database.fetch(_PAGE, before, limit)
    return [OperationSummary(**_members(row)) for row in rows]


def _members(row: asyncpg.Record) -> dict[str, Any]:
    columns = dict(row)
    return {"dry_run": columns.pop("is_dry_run"), "requested_by": columns.pop("actor"), **columns}
