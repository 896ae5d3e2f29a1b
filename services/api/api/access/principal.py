"""The principal of the current request."""

from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from structlog.contextvars import bind_contextvars

from contracts.states import Scope


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request: a token's holder, the holder of ADMIN_TOKEN, or the local user if AUTH is off."""

    name: str
    """Name in the audit log."""
    scopes: AbstractSet[Scope]
    token_id: UUID | None = None
    """Id in the table `api_token`, if the principal uses such a token."""
    is_session: bool = False
    """Whether the principal has presented a session cookie instead of its token."""
    projects: tuple[str, ...] = ()
    """The projects in which a principal with only `issues:ingest` may create issues."""

    @property
    def key(self) -> str:
        """Identifies the principal among all others, whose names can be reused."""
        return str(self.token_id or self.name)

    @property
    def is_ingest_only(self) -> bool:
        """Whether the principal may only create issues, in its projects."""
        return Scope.ISSUES_INGEST in self.scopes and not self.has_scope(Scope.ISSUES_WRITE)

    def has_scope(self, scope: Scope) -> bool:
        """Return whether the principal has the scope, or one that includes it."""
        return (
            scope in self.scopes
            or Scope.ADMIN in self.scopes
            or (scope is Scope.ISSUES_INGEST and Scope.ISSUES_WRITE in self.scopes)
        )


ANONYMOUS = Principal("anonymous", frozenset(Scope))
"""The local user, if AUTH is off."""
ADMIN_TOKEN = Principal("admin-token", frozenset(Scope))
"""The holder of the bootstrap admin token, the setting ADMIN_TOKEN."""
UNAUTHENTICATED = Principal("unauthenticated", frozenset())
"""The sender of a request to an open path, if AUTH is on."""
RESERVED_NAMES = frozenset({ANONYMOUS.name, ADMIN_TOKEN.name, UNAUTHENTICATED.name, "api", "cli", "retention"})
"""Names that no token may have, so that the audit log cannot be misread."""

_current: ContextVar[Principal] = ContextVar("principal")


def set_principal(principal: Principal) -> None:
    """Set the principal of the request that this asyncio task serves, also in its log lines."""
    _current.set(principal)
    bind_contextvars(principal=principal.name)


def current_principal() -> Principal:
    """Return the principal of the request that this asyncio task serves; LookupError outside of a request."""
    return _current.get()


async def _get_principal() -> Principal:
    return current_principal()


PrincipalDep = Annotated[Principal, Depends(_get_principal)]
"""An endpoint parameter with the principal of the request."""
