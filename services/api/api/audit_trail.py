"""Write entries of the audit log, in the transaction of the change."""

from typing import Any

from api.access.principal import current_principal
from api.database import Database
from contracts.ids import new_id

_RECORD = """
INSERT INTO audit_log (id, actor, actor_id, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)
"""


async def record(database: Database, action: str, subject: object, **detail: Any) -> None:
    """Record that the current principal did `action`, such as `issue.changed`, to `subject`, an id or name."""
    actor = current_principal()
    await database.execute(_RECORD, new_id(), actor.name, actor.token_id, action, str(subject), detail)
