"""The endpoints for enrichment results and confirmed tags."""

from uuid import UUID

from fastapi import APIRouter

from api.access.confirmation import Confirmation, may_read
from api.database import DatabaseDep
from api.enrichment import repository
from api.enrichment.schemas import ConfirmedTags, Enrichment
from api.issues.repository import get_issue
from api.issues.schemas import Issue
from api.problems import require_found

router = APIRouter(prefix="/api/v1/issues/{issue_id}", tags=["enrichment"])


@router.get("/enrichment", operation_id="getEnrichment", summary="Get an issue's enrichment result")
async def get_enrichment(issue_id: UUID, database: DatabaseDep) -> Enrichment:
    """Return the suggestions of the newest finished run, with their confidence and provenance."""
    enrichment = await repository.get_newest(database, issue_id)
    return require_found(enrichment, f"enrichment result of issue {issue_id}")


@router.put("/tags", operation_id="confirmTags", summary="Confirm an issue's tags")
async def confirm_tags(issue_id: UUID, confirmed: ConfirmedTags, database: DatabaseDep) -> Issue | Confirmation:
    """Replace all tags. Later runs do not overwrite them, and the project's models learn from them."""
    what = f"issue {issue_id}"
    require_found(await repository.confirm_tags(database, issue_id, confirmed.tags), what)
    issue = require_found(await get_issue(database, issue_id), what)
    return issue if may_read() else Confirmation(id=issue_id, tags=confirmed.tags)
