"""The operation endpoints."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response

from api.access.confirmation import Confirmation, may_read
from api.audit_trail import record
from api.database import DatabaseDep
from api.operations import repository
from api.operations.schemas import Operation, OperationPage
from api.paging import PageQuery, page_by_id
from api.problems import require_found
from contracts.states import OperationState

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
    """Return the progress of an operation and its errors. Poll until it is `finished` or `cancelled`."""
    operation = await repository.get_operation(database, operation_id)
    return require_found(operation, f"operation {operation_id}")


@router.delete("/{operation_id}", operation_id="cancelOperation", summary="Cancel an operation", status_code=200)
async def cancel(operation_id: UUID, database: DatabaseDep) -> Operation | Confirmation:
    """Cancel an import. Its processed rows remain; the others are not imported. 409 if it is finished."""
    async with database.transaction():
        state = require_found(await repository.lock_operation(database, operation_id), f"operation {operation_id}")
        if state == OperationState.FINISHED:
            raise HTTPException(409, f"Operation {operation_id} has ended. Only a running one can be cancelled.")
        if state != OperationState.CANCELLED:
            await repository.cancel_operation(database, operation_id)
            await record(database, "import.cancelled", operation_id)
        operation = await repository.get_operation(database, operation_id)
    if not may_read():
        return Confirmation(id=operation_id, state=OperationState.CANCELLED)
    return require_found(operation, f"operation {operation_id}")
