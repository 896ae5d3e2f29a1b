"""The audit endpoint, for admins."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.access.scopes import ADMIN
from api.audit import repository
from api.audit.schemas import AuditPage, AuditQuery
from api.database import DatabaseDep
from api.paging import page_by_id

router = APIRouter(prefix="/api/v1/audit", tags=["access"], dependencies=[ADMIN])


@router.get("", operation_id="listAudit", summary="List audit log entries, newest first")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[AuditQuery, Query()]
) -> AuditPage:
    """Return one page of the audit log. A `Link` header (RFC 8288) has the URL of the next page."""
    read = partial(repository.list_entries, database, query)
    page, next_cursor = await page_by_id(request, response, query, read)
    return AuditPage(items=page, next_cursor=next_cursor)
