"""The session endpoints, with which the page logs in and out."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, HTTPException, Request, Response

from api.access import repository
from api.access.client_address import client_address
from api.access.credentials import Credentials, CredentialsDep, InvalidCredentials
from api.access.middleware import ALL_FAILURES, ALL_FAILURES_FACTOR, REALM
from api.access.open_paths import LOGIN_PATH
from api.access.principal import Principal, PrincipalDep, current_principal, set_principal
from api.access.scopes import ANY_SCOPE
from api.access.secrets import SESSION_PREFIX, digest, new_secret
from api.access.session_cookie import delete_cookie, read_cookie, set_cookie
from api.audit_trail import record
from api.database import Database, DatabaseDep, DatabaseUnavailable
from api.sessions.schemas import Login, Session

if TYPE_CHECKING:
    from api.access.limiter import Limiter

DURATION = timedelta(hours=12)
"""Longest duration of a session: a working day."""
MAX_BODY_BYTES = 4096
"""A login has a token of at most 200 characters."""
AUDITED_FAILURES = "audited-failures"
AUDITED_FAILURES_MAX = 60
"""Failed logins that the audit log records per minute; the log has all of them."""

logger = structlog.get_logger(__name__)

router = APIRouter(prefix=LOGIN_PATH, tags=["access"])


@router.post("", operation_id="logIn", summary="Start a session with a token")
async def log_in(
    login: Login, request: Request, response: Response, database: DatabaseDep, credentials: CredentialsDep
) -> Session:
    """Set a session cookie. The session ends after 12 hours, after 2 hours without use, or with its token.

    The cookie is `HttpOnly` and `SameSite=Strict`, and over https `Secure` with the prefix `__Host-`. An earlier
    session of the same browser ends.
    """
    token = login.token.get_secret_value().strip()
    principal = await _authenticate(request, database, credentials, token)
    if principal.is_ingest_only:
        raise HTTPException(403, f"{principal.name} may only create issues. Log in with another token.")
    set_principal(principal)
    secret = new_secret(SESSION_PREFIX)
    async with database.transaction():
        await _end(request, database, credentials)
        await repository.start_session(
            database, digest(secret), digest(token), datetime.now(UTC) + DURATION, client_address(request.scope)
        )
        await record(database, "session.started", principal.name)
    credentials.clear_cache()
    set_cookie(request.scope, response, secret, int(DURATION.total_seconds()))
    response.headers["Cache-Control"] = "no-store"
    return _session(request, principal)


async def _authenticate(request: Request, database: Database, credentials: Credentials, token: str) -> Principal:
    try:
        return await credentials.authenticate_token(token)
    except InvalidCredentials as error:
        await _report_failure(request, database, str(error))
        raise HTTPException(401, str(error), {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}) from None


async def _report_failure(request: Request, database: Database, reason: str) -> None:
    """Log and audit a failed login with its address; raise a 429 error if too many have failed from anywhere."""
    address = client_address(request.scope)
    logger.warning("login_failed", address=address)
    limiter: Limiter = request.app.state.limiter
    _, per_address = request.app.state.settings.limits
    rate = limiter.hit(ALL_FAILURES, per_address * ALL_FAILURES_FACTOR) if per_address else None
    if rate is not None and not rate.is_allowed:
        detail = f"Too many logins have failed. Try again in {rate.wait_s} s."
        raise HTTPException(429, detail, {"Retry-After": str(rate.wait_s)})
    # The audit log is kept, so an attacker must not fill it.
    if limiter.hit(AUDITED_FAILURES, AUDITED_FAILURES_MAX).is_allowed:
        with suppress(DatabaseUnavailable):
            await record(database, "session.refused", address, reason=reason)


@router.get("", operation_id="getSession", summary="Get the current session", dependencies=[ANY_SCOPE])
async def get_session(request: Request, actor: PrincipalDep) -> Session:
    """Return the principal of a valid token or cookie. After a 401 the page requests a token."""
    return _session(request, actor)


@router.delete("", operation_id="logOut", summary="End the session", status_code=204)
async def log_out(
    request: Request, response: Response, database: DatabaseDep, credentials: CredentialsDep
) -> None:
    """Delete the session and its cookie. Succeeds without a session."""
    delete_cookie(request.scope, response)
    async with database.transaction():
        await _end(request, database, credentials)
    credentials.clear_cache()


async def _end(request: Request, database: Database, credentials: Credentials) -> None:
    """End the session of the request's cookie, if there is one."""
    cookie = read_cookie(request.scope)
    if cookie is None:
        return
    try:
        principal = await credentials.authenticate_session(cookie)
    except InvalidCredentials:
        return
    actor = current_principal()
    set_principal(principal)
    await repository.end_session(database, digest(cookie))
    await record(database, "session.ended", principal.name)
    set_principal(actor)


def _session(request: Request, principal: Principal) -> Session:
    return Session(
        name=principal.name,
        token_id=principal.token_id,
        scopes=sorted(principal.scopes),
        auth=request.app.state.settings.auth == "on",
    )
