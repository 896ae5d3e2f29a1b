"""What a principal without `issues:read` learns from a change: ids, and the values that it has sent itself."""

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict

from api.access.principal import current_principal
from contracts.states import Scope


class Confirmation(BaseModel):
    """The response to a change by a principal without `issues:read`: ids, and the changed fields."""

    model_config = ConfigDict(extra="allow")


def may_read() -> bool:
    """Return whether the response may have data that the request did not contain."""
    return current_principal().has_scope(Scope.ISSUES_READ)


def require_read(purpose: str) -> None:
    """Raise a 403 error if the principal may not read; `purpose` is the subject of the sentence."""
    if not may_read():
        challenge = 'Bearer realm="issuetracker", error="insufficient_scope", scope="issues:read"'
        raise HTTPException(403, f"{purpose} requires the scope issues:read.", {"WWW-Authenticate": challenge})
