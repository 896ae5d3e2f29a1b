"""The pauses in the ledger."""

from typing import Any

from api.database import Database
from contracts.ledger.pauses import FIND_PAUSE, FIND_PAUSES, PAUSE, RESUME
from contracts.states import PauseKind


async def find_pauses(database: Database) -> list[dict[str, Any]]:
    """Return all pauses, by kind and name."""
    return [dict(row) for row in await database.fetch(FIND_PAUSES.sql)]


async def get_pause(database: Database, kind: PauseKind, name: str) -> dict[str, Any]:
    """Return an existing pause."""
    row = await database.fetchrow(*FIND_PAUSE.bind(kind=kind, name=name))
    assert row is not None
    return dict(row)


async def pause(database: Database, kind: PauseKind, name: str, reason: str | None, paused_by: str) -> bool:
    """Insert a pause or change its reason; return False if it exists with this reason."""
    statement = PAUSE.bind(kind=kind, name=name, reason=reason, paused_by=paused_by)
    return await database.fetchval(*statement) is not None


async def resume(database: Database, kind: PauseKind, name: str) -> bool:
    """Delete a pause; return False if it does not exist."""
    return await database.fetchval(*RESUME.bind(kind=kind, name=name)) is not None
