"""Writes who changed what into the audit log, in the transaction of the change."""

from typing import Any

from api.database import Database
from contracts.ids import new_id

ACTOR = "api"

_RECORD = "INSERT INTO audit_log (id, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5)"


async def record(database: Database, action: str, subject: object, **detail: Any) -> None:
    """Record an action, such as `issue.changed`, on the subject with that id or name."""
    await database.execute(_RECORD, new_id(), ACTOR, action, str(subject), detail)
