"""The audit endpoint, for admins."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.access.scopes import ADMIN
from api.audit import repository
from api.audit.schemas import AuditPage, AuditQuery
from api.database import DatabaseDep
from api.paging import cut_page, read_cursor

router = APIRouter(prefix="/api/v1/audit", tags=["access"], dependencies=[ADMIN])


@router.get("", operation_id="listAudit", summary="List who changed what, newest first")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[AuditQuery, Query()]
) -> AuditPage:
    """Answer one page of the audit log; a `Link` header (RFC 8288) names the next one."""
    after = read_cursor(request, query.cursor, tuple[UUID])
    entries = await repository.list_entries(database, query, after[0] if after else None, query.limit + 1)
    page, next_cursor = cut_page(request, response, entries, query.limit, lambda entry: [entry.id])
    return AuditPage(items=page, next_cursor=next_cursor)
