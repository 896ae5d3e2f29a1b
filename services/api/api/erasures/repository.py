"""Erasures in the database. `app.erasure` of the workers processes them."""

from uuid import UUID

from api.access.principal import current_principal
from api.database import Database
from api.dispatch.pruning import prune_now
from api.erasures.schemas import Erasure
from api.issues.repository import delete_issue
from contracts.ids import new_id
from contracts.ledger.deletion import REQUEST_ERASURE

_GET = "SELECT id, requested_at, finished_at FROM erasure WHERE id = $1"
_LOCK = "SELECT FROM issue WHERE id = $1 FOR NO KEY UPDATE"
HAS_ISSUES = "SELECT EXISTS (SELECT FROM issue WHERE project = $1)"
_NEWEST_OF_PROJECT = """
SELECT id, requested_at, finished_at FROM erasure WHERE project = $1 AND is_project ORDER BY id DESC LIMIT 1
"""
_REQUEST_PROJECT = """
INSERT INTO erasure (id, is_project, project, actor, actor_id) VALUES ($1, true, $2, $3, $4)
RETURNING id, requested_at, finished_at
"""


async def get_erasure(database: Database, erasure_id: UUID) -> Erasure | None:
    """Return the erasure, or None if it does not exist."""
    row = await database.fetchrow(_GET, erasure_id)
    return None if row is None else Erasure(**row)


async def request_issue(database: Database, issue_id: UUID) -> bool:
    """Delete the issue, which may be deleted already, and request its erasure; return False if that has no effect.

    The caller has locked the issue's jobs in the same transaction.
    """
    if await database.fetchrow(_LOCK, issue_id) is None:
        return False
    actor = current_principal()
    request = REQUEST_ERASURE.bind(
        issue_ids=[issue_id], actor=actor.name, actor_id=actor.token_id, requested_at=None
    )
    if not await database.fetch(*request):
        return False
    await delete_issue(database, issue_id)
    await prune_now(database)
    return True


async def find_erasure_of(database: Database, project: str) -> Erasure | None:
    """Return the newest erasure of the project, or None."""
    row = await database.fetchrow(_NEWEST_OF_PROJECT, project)
    return None if row is None else Erasure(**row)


async def request_project(database: Database, project: str) -> Erasure | None:
    """Request the erasure of all issues that the project has now; return None if it has none."""
    if not await database.fetchval(HAS_ISSUES, project):
        return None
    actor = current_principal()
    row = await database.fetchrow(_REQUEST_PROJECT, new_id(), project, actor.name, actor.token_id)
    assert row is not None
    await prune_now(database)
    return Erasure(**row)
