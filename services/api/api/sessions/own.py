"""The endpoints with which a principal lists and ends the sessions of its token."""

from uuid import UUID

from fastapi import APIRouter, HTTPException

from api.access import repository
from api.access.credentials import CredentialsDep
from api.access.principal import PrincipalDep
from api.access.scopes import ANY_SCOPE
from api.audit_trail import record
from api.database import DatabaseDep
from api.sessions.schemas import OwnSession, OwnSessions

router = APIRouter(prefix="/api/v1/sessions", tags=["access"], dependencies=[ANY_SCOPE])


@router.get("", operation_id="listSessions", summary="List the sessions of your token")
async def list_all(database: DatabaseDep, actor: PrincipalDep, credentials: CredentialsDep) -> OwnSessions:
    """Return the open sessions that were started with the token of the request, newest first."""
    rows = await repository.list_own_sessions(database, actor.token_id, credentials.admin_digest)
    return OwnSessions(items=[OwnSession(**row) for row in rows])


@router.delete("/{session_id}", operation_id="endSession", summary="End a session of your token", status_code=204)
async def end(session_id: UUID, database: DatabaseDep, actor: PrincipalDep, credentials: CredentialsDep) -> None:
    """End one session, within 5 seconds on every API process."""
    async with database.transaction():
        if not await repository.end_own_session(database, session_id, actor.token_id, credentials.admin_digest):
            raise HTTPException(404, f"Session {session_id} of this token does not exist.")
        await record(database, "session.ended", actor.name, session_id=str(session_id))
    credentials.clear_cache()
