"""Stored responses by Idempotency-Key in the database."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from api.database import Database

RETENTION = timedelta(hours=24)
EXPIRED_MAX = 10
"""Expired responses that each new one deletes, which bounds the table."""

# The lock ends with the transaction, so a crashed process holds no key.
_LOCK = "SELECT pg_try_advisory_xact_lock($1)"
_FIND = """
SELECT fingerprint, status, headers, body FROM idempotent_answer
WHERE id = $1 AND created_at > now() - $2::interval
"""
_STORE = f"""
WITH expired AS (
    DELETE FROM idempotent_answer WHERE id IN (
        SELECT id FROM idempotent_answer WHERE created_at <= now() - $6::interval AND id <> $1
        ORDER BY created_at LIMIT {EXPIRED_MAX} FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO idempotent_answer (id, fingerprint, status, headers, body, issue_id) VALUES ($1, $2, $3, $4, $5, $7)
ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
    headers = excluded.headers, body = excluded.body, created_at = excluded.created_at,
    issue_id = excluded.issue_id
"""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response and the fingerprint of its request."""

    fingerprint: bytes
    status: int
    headers: dict[str, Any]
    body: bytes


async def lock_key(database: Database, key_id: bytes) -> bool:
    """Lock the key until the transaction ends; return False if another request has locked it."""
    is_locked: bool = await database.fetchval(_LOCK, int.from_bytes(key_id[:8], signed=True))
    return is_locked


async def find_response(database: Database, key_id: bytes) -> StoredResponse | None:
    """Return the response stored for the key within the last 24 hours."""
    row = await database.fetchrow(_FIND, key_id, RETENTION)
    return None if row is None else StoredResponse(**row)


async def store_response(database: Database, key_id: bytes, stored: StoredResponse, issue_id: UUID | None) -> None:
    """Store the response, in the transaction of the request's changes. It is erased with the issue."""
    await database.execute(
        _STORE, key_id, stored.fingerprint, stored.status, stored.headers, stored.body, RETENTION, issue_id
    )
