"""The similarity endpoint."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.database import DatabaseDep
from api.problems import require_found
from api.similar import repository
from api.similar.schemas import SimilarIssues

router = APIRouter(prefix="/api/v1/issues", tags=["issues"])


@router.get("/{issue_id}/similar", operation_id="listSimilarIssues", summary="List similar issues")
async def list_similar(
    issue_id: UUID, database: DatabaseDep, limit: Annotated[int, Query(ge=1, le=20)] = 5
) -> SimilarIssues:
    """Return up to `limit` similar issues, with likely duplicates marked. The list may be empty."""
    similar = await repository.find_similar(database, issue_id, limit)
    return require_found(similar, f"issue {issue_id}")
