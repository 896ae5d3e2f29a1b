"""Finds out who has a token or a session's cookie, without asking the database each time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Annotated
from uuid import UUID

import structlog
from cachetools import TTLCache
from fastapi import Depends, Request

from api.access import repository
from api.access.principal import ADMIN_TOKEN, Principal
from api.access.secrets import SESSION_PREFIX, TOKEN_PREFIX, digest, is_well_formed
from api.database import Database, DatabaseUnavailable
from contracts.states import Scope

CACHE_SECONDS = 5.0
"""How long an answer of the database counts: a token that was revoked elsewhere works on for so long at most."""
CACHE_SIZE = 1024
"""Answers kept at a time."""

logger = structlog.get_logger(__name__)


class InvalidCredentials(Exception):
    """The token or cookie lets nobody in; the message, for its holder, says why."""


@dataclass(frozen=True, slots=True)
class VerifiedCredential:
    """Who has a credential, and until when."""

    principal: Principal
    ends_at: datetime


class Credentials:
    """Tokens, sessions and the admin token. What is unknown is remembered too: a stuck script asks once."""

    def __init__(self, database: Database, admin_token: str | None) -> None:
        self._database = database
        self._admin_digest = None if admin_token is None else digest(admin_token)
        self._cache = TTLCache[bytes, VerifiedCredential | str](CACHE_SIZE, CACHE_SECONDS)

    async def authenticate_token(self, secret: str) -> Principal:
        """Return who has the bearer token; raise InvalidCredentials."""
        key = digest(secret)
        if self._is_admin(key):
            return ADMIN_TOKEN
        if not is_well_formed(secret, TOKEN_PREFIX):
            raise InvalidCredentials(
                "The token is not one of this IssueTracker: look whether it was copied whole."
            )
        return await self._look_up(key, is_session=False)

    async def authenticate_session(self, secret: str) -> Principal:
        """Return who has the session's cookie; raise InvalidCredentials."""
        if not is_well_formed(secret, SESSION_PREFIX):
            raise InvalidCredentials("The session is not one of this IssueTracker: log in again.")
        return await self._look_up(digest(secret), is_session=True)

    def clear_cache(self) -> None:
        """Ask the database again for all; called where this process revokes something."""
        self._cache.clear()

    def _is_admin(self, key: bytes) -> bool:
        return self._admin_digest is not None and compare_digest(key, self._admin_digest)

    async def _look_up(self, key: bytes, *, is_session: bool) -> Principal:
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = await self._ask(key, is_session=is_session)
        if isinstance(found, str):
            raise InvalidCredentials(found)
        if found.ends_at <= datetime.now(UTC):
            raise InvalidCredentials(_ended(is_session, found))
        return found.principal

    async def _ask(self, key: bytes, *, is_session: bool) -> VerifiedCredential | str:
        try:
            return await (self._session(key) if is_session else self._token(key))
        except DatabaseUnavailable as error:
            # Whatever was asked for has not begun.
            raise DatabaseUnavailable(error, may_be_committed=False) from error

    async def _session(self, key: bytes) -> VerifiedCredential | str:
        session = await repository.find_session(self._database, key)
        if session is None:
            return "The session has ended: log in again."
        if self._is_admin(session.token_digest):
            return VerifiedCredential(ADMIN_TOKEN, session.expires_at)
        token = await self._token(session.token_digest)
        if isinstance(token, str):
            return token
        return VerifiedCredential(token.principal, min(token.ends_at, session.expires_at))

    async def _token(self, key: bytes) -> VerifiedCredential | str:
        token = await repository.find_token(self._database, key)
        if token is None:
            return "The token is not one of this IssueTracker, or was made before its database was."
        if token.revoked_at is not None:
            when = f"{token.revoked_at:%Y-%m-%d %H:%M} UTC"
            return f"The token {token.name} was revoked at {when}: ask for another."
        if token.unseen and token.expires_at > datetime.now(UTC):
            await self._note_use(token.id)
        # Not those that only a newer release knows.
        scopes = frozenset(scope for scope in Scope if scope in token.scopes)
        return VerifiedCredential(Principal(token.name, scopes, token.id), token.expires_at)

    async def _note_use(self, token_id: UUID) -> None:
        """Keep when it was used; a database that is full or read-only is no reason to refuse."""
        try:
            await repository.note_use(self._database, token_id)
        except DatabaseUnavailable as error:
            logger.warning("token_use_update_failed", error=str(error))


async def _get_credentials(request: Request) -> Credentials:
    credentials: Credentials = request.app.state.credentials
    return credentials


CredentialsDep = Annotated[Credentials, Depends(_get_credentials)]


def _ended(is_session: bool, known: VerifiedCredential) -> str:
    when = f"{known.ends_at:%Y-%m-%d %H:%M} UTC"
    if is_session:
        return f"The session expired at {when}: log in again."
    return f"The token {known.principal.name} expired at {when}: ask for another."
