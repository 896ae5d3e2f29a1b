"""Tokens in the database."""

from uuid import UUID

import asyncpg

from api.database import Database
from api.tokens.schemas import Token, TokenCreate

_COLUMNS = """
id, name, hint, scopes, projects, created_at, created_by, expires_at, revoked_at, last_used_at,
CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'active' END AS state
"""
_CREATE = f"""
INSERT INTO api_token (id, name, digest, hint, scopes, projects, created_by, expires_at)
SELECT $1, $2, $3, $4, $5, $6, $7, now() + make_interval(days => $8)
WHERE NOT EXISTS (SELECT FROM api_token WHERE lower(name) = lower($2) AND revoked_at IS NULL)
ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING
RETURNING {_COLUMNS}
"""
_PAGE = f"SELECT {_COLUMNS} FROM api_token WHERE id < $1 ORDER BY id DESC LIMIT $2"
_GET = f"SELECT {_COLUMNS} FROM api_token WHERE id = $1"
_REVOKE = f"UPDATE api_token SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING {_COLUMNS}"


async def create_token(  # noqa: PLR0913, PLR0917 - the columns of a token
    database: Database, token_id: UUID, new: TokenCreate, digest: bytes, hint: str, created_by: str
) -> Token | None:
    """Store a token; return None if the name belongs to another token that is not revoked."""
    scopes = [str(scope) for scope in new.scopes]
    values = (token_id, new.name, digest, hint, scopes, new.projects, created_by, new.expires_in_days)
    return _token(await database.fetchrow(_CREATE, *values))


async def list_tokens(database: Database, before: UUID, limit: int) -> list[Token]:
    """Return at most `limit` tokens older than `before`, newest first."""
    return [Token(**row) for row in await database.fetch(_PAGE, before, limit)]


async def get_token(database: Database, token_id: UUID) -> Token | None:
    """Return the token, or None if it does not exist."""
    return _token(await database.fetchrow(_GET, token_id))


async def revoke_token(database: Database, token_id: UUID) -> Token | None:
    """Revoke a token and return it, or None if there is none to revoke."""
    return _token(await database.fetchrow(_REVOKE, token_id))


def _token(row: asyncpg.Record | None) -> Token | None:
    return None if row is None else Token(**row)
