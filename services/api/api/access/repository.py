"""Credentials in the database: tokens and sessions, by the SHA-256 of their secrets.

A lookup uses an index on the digest. Its timing reveals something about the digest, but not about the secret. Only
the admin token needs a comparison in constant time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from api.database import Database

_TOKEN = """
SELECT id, name, scopes, projects, expires_at, revoked_at,
    last_used_at < now() - interval '1 minute' IS NOT FALSE AS is_use_outdated
FROM api_token WHERE digest = $1
"""
IDLE_TIMEOUT = timedelta(hours=2)
"""Time after its last use at which a session ends. An open page uses its session."""
_SESSION_ENDS = f"least(expires_at, last_used_at + interval '{IDLE_TIMEOUT.total_seconds()} seconds')"
"""SQL of the time at which a session ends."""
_SESSION = f"""
SELECT token_digest, {_SESSION_ENDS} AS expires_at,
    last_used_at < now() - interval '1 minute' AS is_use_outdated
FROM api_session WHERE digest = $1
"""
_STORE_SESSION_USE = "UPDATE api_session SET last_used_at = now() WHERE digest = $1"
_STORE_USE = """
UPDATE api_token SET last_used_at = now()
WHERE id = $1 AND last_used_at < now() - interval '1 minute' IS NOT FALSE
"""
# A session without use stays until its expiry, because an API of the previous release may use it, which does not
# store uses.
_START_SESSION = """
WITH ended AS (DELETE FROM api_session WHERE expires_at < now())
INSERT INTO api_session (digest, token_digest, expires_at, address) VALUES ($1, $2, $3, $4)
"""
_END_SESSION = "DELETE FROM api_session WHERE digest = $1"
_IS_OWN = """
token_digest = CASE WHEN $1::uuid IS NULL THEN $2 ELSE (SELECT digest FROM api_token WHERE id = $1) END
"""
_LIST_OWN_SESSIONS = f"""
SELECT id, address, created_at, last_used_at, {_SESSION_ENDS} AS expires_at FROM api_session
WHERE {_IS_OWN} AND {_SESSION_ENDS} > now() ORDER BY created_at DESC LIMIT 1000
"""
_END_OWN_SESSION = f"DELETE FROM api_session WHERE {_IS_OWN} AND id = $3 RETURNING id"


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A stored token."""

    id: UUID
    name: str
    scopes: list[str]
    projects: list[str]
    expires_at: datetime
    revoked_at: datetime | None
    is_use_outdated: bool
    """Whether the stored time of use is older than a minute."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A stored session with the digest of its token."""

    token_digest: bytes
    expires_at: datetime
    is_use_outdated: bool
    """Whether the stored time of use is older than a minute."""


async def find_token(database: Database, digest: bytes) -> StoredToken | None:
    """Return the token with that digest, including an expired or revoked one."""
    row = await database.fetchrow(_TOKEN, digest)
    return None if row is None else StoredToken(**row)


async def store_use(database: Database, token_id: UUID) -> None:
    """Store that the token was used now, unless a use in the last minute is stored."""
    await database.execute(_STORE_USE, token_id)


async def find_session(database: Database, digest: bytes) -> StoredSession | None:
    """Return the session with that digest, including an expired one."""
    row = await database.fetchrow(_SESSION, digest)
    return None if row is None else StoredSession(**row)


async def store_session_use(database: Database, digest: bytes) -> None:
    """Store that the session was used now."""
    await database.execute(_STORE_SESSION_USE, digest)


async def start_session(
    database: Database, digest: bytes, token_digest: bytes, expires_at: datetime, address: str
) -> None:
    """Store a session and delete those that have expired."""
    await database.execute(_START_SESSION, digest, token_digest, expires_at, address)


async def end_session(database: Database, digest: bytes) -> None:
    """Delete a session."""
    await database.execute(_END_SESSION, digest)


async def list_own_sessions(
    database: Database, token_id: UUID | None, admin_digest: bytes | None
) -> list[asyncpg.Record]:
    """Return the open sessions of a token, newest first; without an id, those of the bootstrap admin token."""
    return await database.fetch(_LIST_OWN_SESSIONS, token_id, admin_digest)


async def end_own_session(
    database: Database, session_id: UUID, token_id: UUID | None, admin_digest: bytes | None
) -> bool:
    """Delete a session of a token; return whether it existed."""
    return await database.fetchval(_END_OWN_SESSION, token_id, admin_digest, session_id) is not None
