"""Credentials in the database: tokens and sessions, by the SHA-256 of what their holders have.

A lookup goes through an index on the digest. How long it takes says something of the digest, from which nobody
gets to the token; so there is nothing to compare in constant time but the admin token.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api.database import Database

_TOKEN = """
SELECT id, name, scopes, expires_at, revoked_at, last_used_at < now() - interval '1 minute' IS NOT FALSE AS unseen
FROM api_token WHERE digest = $1
"""
_SESSION = """
SELECT token_digest, expires_at FROM api_session WHERE digest = $1
"""
_SEEN = """
UPDATE api_token SET last_used_at = now()
WHERE id = $1 AND last_used_at < now() - interval '1 minute' IS NOT FALSE
"""
_START_SESSION = """
WITH ended AS (DELETE FROM api_session WHERE expires_at < now())
INSERT INTO api_session (digest, token_digest, expires_at) VALUES ($1, $2, $3)
"""
_END_SESSION = "DELETE FROM api_session WHERE digest = $1"


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is stored."""

    id: UUID
    name: str
    scopes: list[str]
    expires_at: datetime
    revoked_at: datetime | None
    unseen: bool
    """It has not been used for a minute, as far as is noted."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it is stored, and the digest of the token that it was made from."""

    token_digest: bytes
    expires_at: datetime


async def find_token(database: Database, digest: bytes) -> StoredToken | None:
    """Return the token with that digest, also one that has expired or was revoked."""
    row = await database.fetchrow(_TOKEN, digest)
    return None if row is None else StoredToken(**row)


async def note_use(database: Database, token_id: UUID) -> None:
    """Keep that the token was used just now, unless that was kept in the last minute."""
    await database.execute(_SEEN, token_id)


async def find_session(database: Database, digest: bytes) -> StoredSession | None:
    """Return the session with that digest, also one that has expired."""
    row = await database.fetchrow(_SESSION, digest)
    return None if row is None else StoredSession(**row)


async def start_session(database: Database, digest: bytes, token_digest: bytes, expires_at: datetime) -> None:
    """Store a session; forget those that have ended."""
    await database.execute(_START_SESSION, digest, token_digest, expires_at)


async def end_session(database: Database, digest: bytes) -> None:
    """Forget a session."""
    await database.execute(_END_SESSION, digest)
