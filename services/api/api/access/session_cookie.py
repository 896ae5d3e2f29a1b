"""The cookie of a session. Over https it has the prefix `__Host-`, so that no other host can set it."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

NAME: Final = "issuetracker_session"
_PROTECTED: Final = f"__Host-{NAME}"


def read_cookie(scope: Scope) -> str | None:
    """Return the secret of the session, or None if the request has none."""
    return Request(scope).cookies.get(_name(scope))


def set_cookie(scope: Scope, response: Response, secret: str, max_age_s: int) -> None:
    """Set the cookie of a new session."""
    response.set_cookie(
        _name(scope), secret, max_age=max_age_s, httponly=True, samesite="strict", secure=_is_secure(scope)
    )


def delete_cookie(scope: Scope, response: Response) -> None:
    """Delete the cookie of a session that has ended."""
    response.delete_cookie(_name(scope), httponly=True, samesite="strict", secure=_is_secure(scope))


def _name(scope: Scope) -> str:
    return _PROTECTED if _is_secure(scope) else NAME


def _is_secure(scope: Scope) -> bool:
    return bool(scope["scheme"] == "https")
