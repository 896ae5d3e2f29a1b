"""The audit endpoint, for admins."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.access.scopes import ADMIN
from api.audit import repository, verification
from api.audit.schemas import AuditPage, AuditQuery, AuditVerification, VerificationQuery
from api.database import DatabaseDep
from api.paging import page_by_id, read_cursor, write_cursor

router = APIRouter(prefix="/api/v1/audit", tags=["access"], dependencies=[ADMIN])


@router.get("", operation_id="listAudit", summary="List audit log entries, newest first")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[AuditQuery, Query()]
) -> AuditPage:
    """Return one page of the audit log. A `Link` header (RFC 8288) has the URL of the next page."""
    read = partial(repository.list_entries, database, query)
    page, next_cursor = await page_by_id(request, response, query, read)
    return AuditPage(items=page, next_cursor=next_cursor)


@router.get("/verification", operation_id="verifyAudit", summary="Check the audit log for tampering")
async def verify(
    request: Request, database: DatabaseDep, query: Annotated[VerificationQuery, Query()]
) -> AuditVerification:
    """Check a page of the chain over the audit log. Follow `next_cursor` to its end, or to a fault."""
    position = read_cursor(request, query.cursor, verification.Position) or verification.START
    page, following = await verification.verify_page(database, position, query.head)
    page.next_cursor = None if following is None else write_cursor(request, following)
    return page
