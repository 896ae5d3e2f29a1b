"""Which scope a route asks for: by its method, unless the route or its router says otherwise."""

from fastapi import Depends, HTTPException, Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from api.access.open_paths import SAFE_METHODS, is_open
from api.access.principal import current_principal
from contracts.states import Scope


class RequireScope:
    """A dependency of a route or a router that asks for this scope; None asks for any valid token."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self) -> None:
        """Refuse the request unless it may."""
        if self.scope is not None:
            _require(self.scope)


ADMIN = Depends(RequireScope(Scope.ADMIN))
"""`APIRouter(dependencies=[ADMIN])`: operators only."""
ANY_SCOPE = Depends(RequireScope(None))
"""`@router.get(..., dependencies=[ANY_SCOPE])`: whoever has a valid token."""


async def require_scope_by_method(request: Request) -> None:
    """Ask for the scope that the route needs; a dependency of the whole application."""
    if is_open(request.method, request.scope["path"]):
        return
    scope = required_scope(request.scope["route"], request.method)
    if scope is not None:
        _require(scope)


def required_scope(route: BaseRoute, method: str) -> Scope | None:
    """Return the scope that a closed route asks for; None where any valid token does.

    What the route and its router declare counts, the innermost last; what is declared where a router is included
    is asked for besides.
    """
    declared = [
        dependency.dependency
        for dependency in (route.dependencies if isinstance(route, APIRoute) else ())
        if isinstance(dependency.dependency, RequireScope)
    ]
    if declared:
        return declared[-1].scope
    return Scope.ISSUES_READ if method in SAFE_METHODS else Scope.ISSUES_WRITE


def _require(scope: Scope) -> None:
    principal = current_principal()
    if not principal.has_scope(scope):
        has = ", ".join(sorted(principal.scopes))
        raise HTTPException(
            403,
            f"This needs a token with the scope {scope}; {principal.name} has {has}. An admin makes one: "
            f"issuetracker tokens create NAME --scope {scope}",
            {"WWW-Authenticate": f'Bearer realm="issuetracker", error="insufficient_scope", scope="{scope}"'},
        )
