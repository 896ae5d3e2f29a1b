"""The endpoints that decide on suggestions, and tell how often people agree with them."""

from uuid import UUID

from fastapi import APIRouter, Request

from api.database import DatabaseDep
from api.enrichment.repository import train_where_due
from api.issues.schemas import Issue
from api.suggestions import repository
from api.suggestions.decision import decide
from api.suggestions.schemas import Choice, EnrichmentStatistics
from contracts.states import TagVerdict

router = APIRouter(prefix="/api/v1", tags=["enrichment"])


@router.post(
    "/issues/{issue_id}/suggestions/accept", operation_id="acceptSuggestions", summary="Accept suggestions"
)
async def accept(issue_id: UUID, choice: Choice, request: Request, database: DatabaseDep) -> Issue:
    """Set the suggested tags that are named, and the suggested priority if it is meant; no run takes them away."""
    return await _decide(issue_id, choice, TagVerdict.ACCEPTED, request, database)


@router.post(
    "/issues/{issue_id}/suggestions/reject", operation_id="rejectSuggestions", summary="Reject suggestions"
)
async def reject(issue_id: UUID, choice: Choice, request: Request, database: DatabaseDep) -> Issue:
    """Take the suggested tags away that are named; no run sets them again."""
    return await _decide(issue_id, choice, TagVerdict.REJECTED, request, database)


@router.post(
    "/issues/{issue_id}/suggestions/accept-all",
    operation_id="acceptAllSuggestions",
    summary="Accept all suggestions",
)
async def accept_all(issue_id: UUID, request: Request, database: DatabaseDep) -> Issue:
    """Accept whatever the newest run suggests and nobody has rejected."""
    return await _decide(issue_id, None, TagVerdict.ACCEPTED, request, database)


@router.get(
    "/stats/enrichment", operation_id="getEnrichmentStatistics", summary="Get how often suggestions are accepted"
)
async def get_statistics(database: DatabaseDep) -> EnrichmentStatistics:
    """Answer the verdicts on each tag that anybody has decided on, and on priorities."""
    return await repository.get_statistics(database)


async def _decide(
    issue_id: UUID, choice: Choice | None, verdict: TagVerdict, request: Request, database: DatabaseDep
) -> Issue:
    issue = await decide(database, issue_id, choice, verdict)
    await train_where_due(request, database, issue.project)
    return issue
