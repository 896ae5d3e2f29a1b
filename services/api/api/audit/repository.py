"""The audit log in the database, which is append-only."""

from uuid import UUID

from api.audit.schemas import AuditEntry, AuditQuery
from api.database import Database
from api.timestamps import to_utc

_PAGE = "SELECT id, actor, actor_id, action, subject, detail, created_at FROM audit_log"
_FILTERS = {
    "actor": "actor = {}",
    "action": "action = {}",
    "subject": "subject = {}",
    "since": "created_at >= {}",
    "until": "created_at < {}",
}


async def list_entries(database: Database, query: AuditQuery, before: UUID, limit: int) -> list[AuditEntry]:
    """Return at most `limit` matching entries older than `before`, newest first."""
    conditions, values = [], []
    given = {**query.model_dump(), "since": to_utc(query.since), "until": to_utc(query.until)}
    filters = [(condition, given[name]) for name, condition in _FILTERS.items()]
    for condition, value in [*filters, ("id < {}", before)]:
        if value is not None:
            values.append(value)
            conditions.append(condition.format(f"${len(values)}"))
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = await database.fetch(f"{_PAGE} {where} ORDER BY id DESC LIMIT {limit:d}", *values)
    return [AuditEntry(**row) for row in rows]
