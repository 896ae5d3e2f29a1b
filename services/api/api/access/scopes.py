"""The scope that a route requires: by its method, unless the route or its router declares another."""

from fastapi import Depends, HTTPException, Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from api.access.open_paths import SAFE_METHODS, is_open
from api.access.principal import current_principal
from contracts.states import Scope


class RequireScope:
    """Dependency of a route or router that requires a scope; None requires any but `issues:ingest`."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self) -> None:
        """Raise a 403 error if the principal lacks the scope."""
        _authorize(self.scope)


ADMIN = Depends(RequireScope(Scope.ADMIN))
"""`APIRouter(dependencies=[ADMIN])` requires the admin scope."""
ANY_SCOPE = Depends(RequireScope(None))
"""`@router.get(..., dependencies=[ANY_SCOPE])` requires a valid token with any scope but `issues:ingest`."""
INGEST = Depends(RequireScope(Scope.ISSUES_INGEST))
"""`@router.post(..., dependencies=[INGEST])` also accepts tokens that may only create issues."""

ERASE = Depends(RequireScope(Scope.ISSUES_ERASE))
"""`APIRouter(dependencies=[ERASE])` requires the scope of erasures, which cannot be undone."""


async def _require_token() -> None:
    if current_principal().is_session:
        raise HTTPException(
            403, "A session may not do this. Present its token again: send `Authorization: Bearer itk_...`."
        )


TOKEN_AGAIN = Depends(_require_token)
"""`@router.post(..., dependencies=[TOKEN_AGAIN])` rejects sessions.

For operations whose result outlives a session that was hijacked: new tokens, and receivers of events.
"""


async def require_scope_by_method(request: Request) -> None:
    """Require the scope of the route; a dependency of the whole application."""
    if is_open(request.method, request.scope["path"]):
        return
    _authorize(required_scope(request.scope["route"], request.method))


def required_scope(route: BaseRoute, method: str) -> Scope | None:
    """Return the scope that a route requires, or None if any but `issues:ingest` is enough.

    The innermost declaration of the route and its router applies. A declaration at the inclusion of a router is
    checked in addition.
    """
    declared = [
        dependency.dependency
        for dependency in (route.dependencies if isinstance(route, APIRoute) else ())
        if isinstance(dependency.dependency, RequireScope)
    ]
    if declared:
        return declared[-1].scope
    return Scope.ISSUES_READ if method in SAFE_METHODS else Scope.ISSUES_WRITE


def _authorize(scope: Scope | None) -> None:
    """Raise a 403 error if the principal lacks the scope. None is any scope but `issues:ingest`."""
    principal = current_principal()
    if scope is None:
        if not principal.is_ingest_only:
            return
        scope = Scope.ISSUES_READ
    if not principal.has_scope(scope):
        scopes = ", ".join(sorted(principal.scopes))
        option = f"--scope {scope}" + (" --project PROJECT" if scope is Scope.ISSUES_INGEST else "")
        raise HTTPException(
            403,
            f"{principal.name} has the scope {scopes}, but this request requires {scope}. An admin creates such a "
            f"token with `issuetracker tokens create NAME {option}`.",
            {"WWW-Authenticate": f'Bearer realm="issuetracker", error="insufficient_scope", scope="{scope}"'},
        )
