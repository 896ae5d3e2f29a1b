"""The session endpoints, with which the page logs in and out."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, HTTPException, Request, Response

from api.access import repository
from api.access.credentials import Credentials, CredentialsDep, InvalidCredentials
from api.access.middleware import REALM, SESSION_COOKIE
from api.access.open_paths import LOGIN_PATH
from api.access.principal import Principal, PrincipalDep, set_principal
from api.access.scopes import ANY_SCOPE
from api.access.secrets import SESSION_PREFIX, digest, new_secret
from api.audit_trail import record
from api.database import DatabaseDep
from api.sessions.schemas import Login, Session

DURATION = timedelta(hours=12)
"""Duration of a session, in use or not: a working day."""
MAX_BODY_BYTES = 4096
"""A login has a token of at most 200 characters."""

router = APIRouter(prefix=LOGIN_PATH, tags=["access"])


@router.post("", operation_id="logIn", summary="Start a session with a token")
async def log_in(
    login: Login, request: Request, response: Response, database: DatabaseDep, credentials: CredentialsDep
) -> Session:
    """Set a session cookie. It is valid for 12 hours, or until the token expires or is revoked.

    The cookie is `HttpOnly` and `SameSite=Strict`, and `Secure` if the page uses https.
    """
    token = login.token.get_secret_value().strip()
    principal = await _authenticate(credentials, token)
    set_principal(principal)
    secret = new_secret(SESSION_PREFIX)
    async with database.transaction():
        await repository.start_session(database, digest(secret), digest(token), datetime.now(UTC) + DURATION)
        await record(database, "session.started", principal.name)
    response.set_cookie(
        SESSION_COOKIE,
        secret,
        max_age=int(DURATION.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    response.headers["Cache-Control"] = "no-store"
    return _session(request, principal)


async def _authenticate(credentials: Credentials, token: str) -> Principal:
    try:
        return await credentials.authenticate_token(token)
    except InvalidCredentials as error:
        raise HTTPException(401, str(error), {"WWW-Authenticate": f'{REALM}, error="invalid_token"'}) from None


@router.get("", operation_id="getSession", summary="Get the current session", dependencies=[ANY_SCOPE])
async def get_session(request: Request, actor: PrincipalDep) -> Session:
    """Return the principal of a valid token or cookie. After a 401 the page requests a token."""
    return _session(request, actor)


@router.delete("", operation_id="logOut", summary="End the session", status_code=204)
async def log_out(
    request: Request, response: Response, database: DatabaseDep, credentials: CredentialsDep
) -> None:
    """Delete the session and its cookie. Succeeds without a session."""
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
    cookie = request.cookies.get(SESSION_COOKIE, "")
    try:
        principal = await credentials.authenticate_session(cookie)
    except InvalidCredentials:
        return
    set_principal(principal)
    async with database.transaction():
        await repository.end_session(database, digest(cookie))
        await record(database, "session.ended", principal.name)
    credentials.clear_cache()


def _session(request: Request, principal: Principal) -> Session:
    return Session(
        name=principal.name,
        token_id=principal.token_id,
        scopes=sorted(principal.scopes),
        auth=request.app.state.settings.auth == "on",
    )
