"""Authenticate tokens and session cookies, with a cache in front of the database."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Annotated

import structlog
from cachetools import TTLCache
from fastapi import Depends, Request

from api.access import repository
from api.access.principal import ADMIN_TOKEN, Principal
from api.access.secrets import SESSION_PREFIX, TOKEN_PREFIX, digest, is_well_formed
from api.database import Database, DatabaseUnavailable
from contracts.states import Scope

CACHE_SECONDS = 5.0
"""Lifetime of a cache entry: a token revoked in another process stays valid here for at most this long."""
CACHE_SIZE = 1024
"""Maximum number of cache entries."""

logger = structlog.get_logger(__name__)


class InvalidCredentials(Exception):
    """The token or cookie is not valid; the message gives the holder the reason."""


@dataclass(frozen=True, slots=True)
class VerifiedCredential:
    """The principal of a valid credential, and its expiry."""

    principal: Principal
    ends_at: datetime


class Credentials:
    """Authenticates tokens, sessions and the admin token. Failures are cached too, which bounds the load."""

    def __init__(self, database: Database, admin_token: str | None) -> None:
        self._database = database
        self._admin_digest = None if admin_token is None else digest(admin_token)
        self._cache = TTLCache[bytes, VerifiedCredential | str](CACHE_SIZE, CACHE_SECONDS)

    async def authenticate_token(self, secret: str) -> Principal:
        """Return the principal of a bearer token; raise InvalidCredentials."""
        key = digest(secret)
        if self._is_admin(key):
            return ADMIN_TOKEN
        if not is_well_formed(secret, TOKEN_PREFIX):
            raise InvalidCredentials("The token is not valid. Check that you copied all of it.")
        return await self._look_up(key, is_session=False)

    async def authenticate_session(self, secret: str) -> Principal:
        """Return the principal of a session cookie; raise InvalidCredentials."""
        if not is_well_formed(secret, SESSION_PREFIX):
            raise InvalidCredentials("The session is not valid. Log in again.")
        return await self._look_up(digest(secret), is_session=True)

    @property
    def admin_digest(self) -> bytes | None:
        """The SHA-256 of the bootstrap admin token, or None if it is not set."""
        return self._admin_digest

    def clear_cache(self) -> None:
        """Clear the cache after this process has revoked a credential."""
        self._cache.clear()

    def _is_admin(self, key: bytes) -> bool:
        return self._admin_digest is not None and compare_digest(key, self._admin_digest)

    async def _look_up(self, key: bytes, *, is_session: bool) -> Principal:
        found = self._cache.get(key)
        # A use may have extended a session since it was cached.
        if found is None or _has_ended(found):
            found = await self._query(key, is_session=is_session)
            if isinstance(found, VerifiedCredential) and _has_ended(found):
                found = _describe_end(is_session, found)
            self._cache[key] = found
        if isinstance(found, str):
            raise InvalidCredentials(found)
        return found.principal

    async def _query(self, key: bytes, *, is_session: bool) -> VerifiedCredential | str:
        try:
            return await (self._session(key) if is_session else self._token(key))
        except DatabaseUnavailable as error:
            # The request itself has not started.
            raise DatabaseUnavailable(error, may_be_committed=False) from error

    async def _session(self, key: bytes) -> VerifiedCredential | str:
        session = await repository.find_session(self._database, key)
        if session is None:
            return "The session has ended. Log in again."
        if session.is_use_outdated and session.expires_at > datetime.now(UTC):
            await self._store_use(repository.store_session_use(self._database, key))
        if self._is_admin(session.token_digest):
            return VerifiedCredential(replace(ADMIN_TOKEN, is_session=True), session.expires_at)
        token = await self._token(session.token_digest)
        if isinstance(token, str):
            return token
        principal = replace(token.principal, is_session=True)
        return VerifiedCredential(principal, min(token.ends_at, session.expires_at))

    async def _token(self, key: bytes) -> VerifiedCredential | str:
        token = await repository.find_token(self._database, key)
        if token is None:
            return "The token does not exist. Check that it belongs to this IssueTracker."
        if token.revoked_at is not None:
            when = f"{token.revoked_at:%Y-%m-%d %H:%M} UTC"
            return f"Token {token.name} was revoked at {when}. Request a new one from an admin."
        if token.is_use_outdated and token.expires_at > datetime.now(UTC):
            await self._store_use(repository.store_use(self._database, token.id))
        # A newer release may have stored scopes that this one does not have.
        scopes = frozenset(scope for scope in Scope if scope in token.scopes)
        principal = Principal(token.name, scopes, token.id, projects=tuple(token.projects))
        return VerifiedCredential(principal, token.expires_at)

    async def _store_use(self, update: Awaitable[None]) -> None:
        """Store the time of use. A full or read-only database does not fail the request."""
        try:
            await update
        except DatabaseUnavailable as error:
            logger.warning("token_use_update_failed", error=str(error))


async def _get_credentials(request: Request) -> Credentials:
    credentials: Credentials = request.app.state.credentials
    return credentials


CredentialsDep = Annotated[Credentials, Depends(_get_credentials)]


def _has_ended(found: VerifiedCredential | str) -> bool:
    return isinstance(found, VerifiedCredential) and found.ends_at <= datetime.now(UTC)


def _describe_end(is_session: bool, known: VerifiedCredential) -> str:
    when = f"{known.ends_at:%Y-%m-%d %H:%M} UTC"
    if is_session:
        return f"The session expired at {when}. Log in again."
    return f"Token {known.principal.name} expired at {when}. Request a new one from an admin."
