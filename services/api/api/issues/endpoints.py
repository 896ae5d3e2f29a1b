"""The issue endpoints."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Request, Response

from api import etag
from api.access.confirmation import Confirmation, may_read
from api.access.principal import current_principal
from api.access.scopes import INGEST
from api.audit_trail import record
from api.database import DatabaseDep
from api.issues import listing, repository
from api.issues.batcher import IssueBatcher
from api.issues.changes import apply_patch
from api.issues.ingest import IngestedIssue, bind_project
from api.issues.schemas import Issue, IssueCreate, IssuePage, IssuePatch, IssueQuery
from api.issues.search import compile_terms, describe_common_words
from api.paging import cut_page, read_cursor
from api.problems import ProblemError, require_found
from api.runs.repository import lock_unfinished

# The prefix is set here because metrics are labelled by the route's path, which lacks a prefix set at inclusion.
router = APIRouter(prefix="/api/v1/issues", tags=["issues"])

_MERGE_PATCH = "application/merge-patch+json"
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The `ETag` that the change is based on. The response is 412 if the issue has changed since",
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The `ETag` of the client's copy. The response is 304 if the issue has not changed",
}


def _issue_batcher(request: Request) -> IssueBatcher:
    # Not a dependency, because each one adds more overhead than this call.
    issue_batcher: IssueBatcher = request.app.state.issue_batcher
    return issue_batcher


@router.post("", operation_id="createIssue", summary="Create an issue", status_code=201, dependencies=[INGEST])
async def create(new: IssueCreate, request: Request, response: Response) -> Issue | IngestedIssue:
    """Store an issue and its enrichment job. Workers enrich the issue in the background.

    With the scope `issues:ingest`, the response has only the id, the project and the path.
    """
    issue = await _issue_batcher(request).store(bind_project(new))
    if issue is None:
        assert new.external is not None
        existing = None
        if may_read():
            existing = await repository.find_external(request.app.state.database, new.external)
        detail = f"Issue {new.external.id} of {new.external.source} already exists."
        raise ProblemError(409, detail, {"existing_id": str(existing)} if existing else {})
    request.app.state.dispatcher.wake()
    url = response.headers["Location"] = f"{router.prefix}/{issue.id}"
    if current_principal().is_ingest_only:
        return IngestedIssue(id=issue.id, project=issue.project, url=url)
    return issue


@router.get(
    "/{issue_id}",
    operation_id="getIssue",
    summary="Get an issue",
    response_model=Issue,
    responses={304: {"description": "The issue has not changed"}},
    openapi_extra={"parameters": [_IF_NONE_MATCH]},
)
async def get_issue(issue_id: UUID, request: Request, database: DatabaseDep) -> Response:
    """Return an issue with its enrichment. The `ETag` changes with any of its fields."""
    issue = require_found(await repository.get_issue(database, issue_id), f"issue {issue_id}")
    return etag.represent_if_changed(request, issue)


@router.patch(
    "/{issue_id}",
    operation_id="changeIssue",
    summary="Change an issue",
    response_model=Issue | Confirmation,
    openapi_extra={"parameters": [_IF_MATCH]},
)
async def change(
    issue_id: UUID,
    patch: Annotated[IssuePatch, Body(media_type=_MERGE_PATCH)],
    request: Request,
    database: DatabaseDep,
) -> Response | Confirmation:
    """Apply a JSON merge patch (RFC 7396). If the text changes, the issue is enriched again once."""
    issue = require_found(await apply_patch(database, issue_id, patch, request), f"issue {issue_id}")
    return etag.represent(issue) if may_read() else Confirmation(id=issue_id, **patch.changes())


@router.delete(
    "/{issue_id}",
    operation_id="deleteIssue",
    summary="Delete an issue",
    status_code=204,
    openapi_extra={"parameters": [_IF_MATCH]},
)
async def delete(issue_id: UUID, request: Request, database: DatabaseDep) -> None:
    """Delete an issue and skip its jobs. An operator can restore it within `DELETED_DAYS`; then it is erased.

    A repeated call returns 404. The method stays idempotent (RFC 9110, section 9.2.2).
    """
    async with database.transaction():
        await lock_unfinished(database, issue_id)
        issue = require_found(await repository.lock_issue(database, issue_id), f"issue {issue_id}")
        etag.require_match(request, issue)
        await repository.delete_issue(database, issue_id)
        await record(database, "issue.deleted", issue_id)


@router.get("", operation_id="listIssues", summary="List and search issues")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[IssueQuery, Query()]
) -> IssuePage:
    """Return one page of issues. A `Link` header (RFC 8288) has the URL of the next page."""
    after = read_cursor(request, query.cursor, listing.ORDERS[query.order].key)
    words = await compile_terms(database, query.search) if query.search.terms else None
    if words == "":
        return IssuePage(items=[], next_cursor=None, notice=describe_common_words(query.search))
    rows = await listing.list_issues(database, query, words, after, query.limit + 1)
    page, next_cursor = cut_page(request, response, rows, query.limit, lambda listed: listed.key)
    listed_page = IssuePage(items=[listed.issue for listed in page], next_cursor=next_cursor)
    if query.total:
        count = await listing.count_issues(database, query, words)
        listed_page.total, listed_page.total_is_exact = min(count, listing.TOTAL_MAX), count <= listing.TOTAL_MAX
    return listed_page
