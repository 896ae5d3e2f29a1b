"""The issue endpoints."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response

from api.cursor import Cursor, encode_cursor, next_link
from api.database import DatabaseDep
from api.issues import repository
from api.issues.schemas import Issue, IssueCreate, IssuePage

# The whole path: the metrics label requests by the route's own path, which a prefix given at inclusion lacks.
router = APIRouter(prefix="/api/v1/issues", tags=["issues"])


@router.post("", operation_id="createIssue", summary="Create an issue", status_code=201)
async def create(new: IssueCreate, request: Request, response: Response, database: DatabaseDep) -> Issue:
    """Store the issue and its enrichment job, then answer; workers enrich it in the background."""
    issue = await repository.create_issue(database, new)
    request.app.state.dispatcher.wake()
    response.headers["Location"] = str(request.app.url_path_for("get_issue", issue_id=issue.id))
    return issue


@router.get("/{issue_id}", operation_id="getIssue", summary="Get an issue")
async def get_issue(issue_id: UUID, database: DatabaseDep) -> Issue:
    """Answer the issue with what was made of it so far."""
    issue = await repository.get_issue(database, issue_id)
    if issue is None:
        raise HTTPException(404, f"There is no issue {issue_id}.")
    return issue


@router.get("", operation_id="listIssues", summary="List issues, newest first")
async def list_page(
    request: Request,
    response: Response,
    database: DatabaseDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[Cursor | None, Query(description="`next_cursor` of the page before")] = None,
) -> IssuePage:
    """Answer one page; a `Link` header (RFC 8288) names the next one."""
    issues = await repository.list_issues(database, cursor, limit + 1)
    page = issues[:limit]
    next_cursor = encode_cursor(page[-1].id) if len(issues) > limit else None
    if next_cursor is not None:
        response.headers["Link"] = next_link(request, limit, next_cursor)
    return IssuePage(items=page, next_cursor=next_cursor)
