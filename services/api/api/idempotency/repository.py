"""Stored responses by Idempotency-Key in the database."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from api.database import Database

KEPT_FOR = timedelta(hours=24)
FORGOTTEN_AT_ONCE = 10
"""Expired responses that each new one deletes, which bounds the table."""

# The lock ends with the transaction, so a crashed process holds no key.
_TAKE = "SELECT pg_try_advisory_xact_lock($1)"
_FIND = """
SELECT fingerprint, status, headers, body FROM idempotent_answer
WHERE id = $1 AND created_at > now() - $2::interval
"""
_STORE = f"""
WITH forgotten AS (
    DELETE FROM idempotent_answer WHERE id IN (
        SELECT id FROM idempotent_answer WHERE created_at <= now() - $6::interval AND id <> $1
        ORDER BY created_at LIMIT {FORGOTTEN_AT_ONCE} FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO idempotent_answer (id, fingerprint, status, headers, body) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
    headers = excluded.headers, body = excluded.body, created_at = excluded.created_at
"""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A stored response and the fingerprint of its request."""

    fingerprint: bytes
    status: int
    headers: dict[str, Any]
    body: bytes


async def take_key(database: Database, key_id: bytes) -> bool:
    """Lock the key until the transaction ends; return False if another request has locked it."""
    taken: bool = await database.fetchval(_TAKE, int.from_bytes(key_id[:8], signed=True))
    return taken


async def find_answer(database: Database, key_id: bytes) -> StoredAnswer | None:
    """Return the response stored for the key within the last 24 hours."""
    row = await database.fetchrow(_FIND, key_id, KEPT_FOR)
    return None if row is None else StoredAnswer(**row)


async def store_answer(database: Database, key_id: bytes, answer: StoredAnswer) -> None:
    """Store the response, in the transaction of the request's changes."""
    await database.execute(
        _STORE, key_id, answer.fingerprint, answer.status, answer.headers, answer.body, KEPT_FOR
    )
