"""The operation endpoints."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.database import DatabaseDep
from api.operations import repository
from api.operations.schemas import Operation, OperationPage
from api.paging import PageQuery, page_by_id
from api.problems import require_found

router = APIRouter(prefix="/api/v1/operations", tags=["operations"])


@router.get("", operation_id="listOperations", summary="List operations")
async def list_page(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[PageQuery, Query()]
) -> OperationPage:
    """Return one page of imports, newest first. A `Link` header (RFC 8288) has the URL of the next page."""
    page, next_cursor = await page_by_id(request, response, query, partial(repository.list_operations, database))
    return OperationPage(items=page, next_cursor=next_cursor)


@router.get("/{operation_id}", operation_id="getOperation", summary="Get an operation")
async def get_operation(operation_id: UUID, database: DatabaseDep) -> Operation:
    """Return the progress of an operation and the errors of its rows. Poll until its state is `finished`."""
    operation = await repository.get_operation(database, operation_id)
    return require_found(operation, f"operation {operation_id}")
