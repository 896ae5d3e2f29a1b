"""Who makes the request that is being served."""

from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends

from contracts.states import Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a request comes from: a token's holder, the operator's own token, or anybody where AUTH is off."""

    name: str
    """What the audit log says."""
    scopes: AbstractSet[Scope]
    token_id: UUID | None = None
    """Null for all but tokens of table `api_token`."""

    def has_scope(self, scope: Scope) -> bool:
        """Tell whether it has the scope, by itself or as an admin."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


ANONYMOUS = Principal("anonymous", frozenset(Scope))
"""Anybody, where AUTH is off."""
ADMIN_TOKEN = Principal("admin-token", frozenset(Scope))
"""Whoever has the token of the setting ADMIN_TOKEN."""
UNAUTHENTICATED = Principal("nobody", frozenset())
"""Whoever asks for what is open, where AUTH is on."""
RESERVED_NAMES = frozenset({ANONYMOUS.name, ADMIN_TOKEN.name, UNAUTHENTICATED.name, "api", "cli"})
"""Names that no token may have, so that the audit log cannot be misread."""

_current: ContextVar[Principal] = ContextVar("who makes the request")


def set_principal(principal: Principal) -> None:
    """Remember who makes the request that this asyncio task serves."""
    _current.set(principal)


def current_principal() -> Principal:
    """Return who makes the request that this asyncio task serves; LookupError outside of a request."""
    return _current.get()


async def _get_principal() -> Principal:
    return current_principal()


PrincipalDep = Annotated[Principal, Depends(_get_principal)]
"""An endpoint's parameter that is whoever makes the request."""
