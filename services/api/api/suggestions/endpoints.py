"""The endpoints that accept and reject suggestions, and report acceptance rates."""

from uuid import UUID

from fastapi import APIRouter

from api.access.confirmation import Confirmation, may_read
from api.database import DatabaseDep
from api.issues.schemas import Issue
from api.suggestions import repository
from api.suggestions.decision import decide
from api.suggestions.schemas import Choice, EnrichmentStatistics
from contracts.states import TagVerdict

router = APIRouter(prefix="/api/v1", tags=["enrichment"])


@router.post(
    "/issues/{issue_id}/suggestions/accept", operation_id="acceptSuggestions", summary="Accept suggestions"
)
async def accept(issue_id: UUID, choice: Choice, database: DatabaseDep) -> Issue | Confirmation:
    """Set the given suggested tags, and the suggested priority if `priority` is true. Later runs keep them."""
    return await _decide(issue_id, choice, TagVerdict.ACCEPTED, database)


@router.post(
    "/issues/{issue_id}/suggestions/reject", operation_id="rejectSuggestions", summary="Reject suggestions"
)
async def reject(issue_id: UUID, choice: Choice, database: DatabaseDep) -> Issue | Confirmation:
    """Remove the given suggested tags. Later runs do not set them again."""
    return await _decide(issue_id, choice, TagVerdict.REJECTED, database)


@router.post(
    "/issues/{issue_id}/suggestions/accept-all",
    operation_id="acceptAllSuggestions",
    summary="Accept all suggestions",
)
async def accept_all(issue_id: UUID, database: DatabaseDep) -> Issue | Confirmation:
    """Accept all suggestions of the newest run that were not rejected."""
    return await _decide(issue_id, None, TagVerdict.ACCEPTED, database)


@router.get(
    "/stats/enrichment", operation_id="getEnrichmentStatistics", summary="Get acceptance rates of suggestions"
)
async def get_statistics(database: DatabaseDep) -> EnrichmentStatistics:
    """Return the number of accepted and rejected suggestions, by tag and for priorities."""
    return await repository.get_statistics(database)


async def _decide(
    issue_id: UUID, choice: Choice | None, verdict: TagVerdict, database: DatabaseDep
) -> Issue | Confirmation:
    issue = await decide(database, issue_id, choice, verdict)
    return issue if may_read() else Confirmation(id=issue_id)
