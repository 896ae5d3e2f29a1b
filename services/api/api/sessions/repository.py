"""The sessions of one token in the database."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from api.access.repository import SESSION_ENDS
from api.database import Database

_IS_OWN = """
token_digest = CASE WHEN $1::uuid IS NULL THEN $2 ELSE (SELECT digest FROM api_token WHERE id = $1) END
"""
_LIST = f"""
SELECT id, address, created_at, last_used_at, {SESSION_ENDS} AS expires_at FROM api_session
WHERE {_IS_OWN} AND {SESSION_ENDS} > now() ORDER BY created_at DESC LIMIT 1000
"""
_END = f"DELETE FROM api_session WHERE {_IS_OWN} AND id = $3 RETURNING id"


async def list_sessions(
    database: Database, token_id: UUID | None, admin_digest: bytes | None
) -> Sequence[asyncpg.Record]:
    """Return the open sessions of a token, newest first; without an id, those of the bootstrap admin token."""
    return await database.fetch(_LIST, token_id, admin_digest)


async def end_session(
    database: Database, session_id: UUID, token_id: UUID | None, admin_digest: bytes | None
) -> bool:
    """Delete a session of a token; return whether it existed."""
    return await database.fetchval(_END, token_id, admin_digest, session_id) is not None
