"""The endpoint that imports files of issues."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.database import Database, DatabaseDep
from api.imports import repository
from api.imports.frames import Frame, frames
from api.imports.repository import ImportRequest
from api.issues.schemas import Project
from api.media_type import read_media_type
from api.operations.repository import get_operation
from api.operations.schemas import Operation
from contracts.limits import EXTERNAL_SOURCE_PATTERN
from contracts.states import ImportFormat
from contracts.validation import format_value

PATH = "/api/v1/imports"
router = APIRouter(prefix=PATH, tags=["operations"])

STORED_ROWS = 1000
STORED_BYTES = 1024 * 1024
"""Bounds of what one statement stores, so that other requests run in between."""
ROWS_MAX = 100_000
"""Rows of one file; one statement deletes them all."""

_FORMATS = {
    "application/x-ndjson": ImportFormat.NDJSON,
    "text/csv": ImportFormat.CSV,
    "application/json": ImportFormat.GITHUB,
}
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_BODIES: dict[str, Any] = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One JSON object per line"},
        "example": '{"title": "Login fails", "description": "A click does nothing.", "status": "open", '
        '"priority": "high", "source": "github:acme/shop", "external_id": "1207"}\n',
    },
    "text/csv": {
        "schema": {"type": "string", "description": "RFC 4180, with a header row"},
        "example": "title,description,status,priority,source,external_id\n"
        "Login fails,A click does nothing.,open,high,github:acme/shop,1207\n",
    },
    "application/json": {
        "schema": {"type": "array", "items": {}},
        "example": [
            {
                "number": 1207,
                "title": "Login fails",
                "body": "A click does nothing.",
                "state": "open",
                "html_url": "https://github.com/acme/shop/issues/1207",
            }
        ],
    },
}


class ImportQuery(BaseModel):
    """Options of an import."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(default=False, description="Count changes without making them")
    project: Project | None = Field(default=None, description="Project of new issues whose row has none")
    source: Annotated[str, StringConstraints(pattern=EXTERNAL_SOURCE_PATTERN)] | None = Field(
        default=None,
        description="Source system of rows that have none, in lower case, such as `jira:SHOP`",
    )


@router.post(
    "",
    operation_id="importIssues",
    summary="Import issues from a file",
    status_code=202,
    openapi_extra={"requestBody": {"required": True, "content": _BODIES}},
)
async def create(
    request: Request, response: Response, database: DatabaseDep, query: Annotated[ImportQuery, Query()]
) -> Operation:
    """Store the rows of a file and import them in the background, each independently.

    A row's source and external id identify its issue. New rows create issues and changed rows update them;
    unchanged rows are skipped. Fields that a user has edited keep their value.
    The `Location` header is the URL of the operation.
    """
    file_format = _format(request.headers.get("content-type", ""))
    import_request = ImportRequest(file_format, query.dry_run, query.project, query.source)
    body = await request.body()
    async with database.transaction():
        operation_id = await repository.begin(database, import_request)
        await _store(database, operation_id, frames(file_format, body))
        operation = await get_operation(database, operation_id)
    assert operation is not None
    request.app.state.importer.wake()
    response.headers["Location"] = str(request.app.url_path_for("get_operation", operation_id=operation_id))
    return operation


def _format(content_type: str) -> ImportFormat:
    media_type, parameters = read_media_type(content_type)
    file_format = _FORMATS.get(media_type)
    if file_format is None:
        raise HTTPException(415, f"The content type is not supported. Send the body as {', '.join(_FORMATS)}.")
    charset = parameters.get("charset", "utf-8")
    if charset.lower() not in _CHARSETS:
        raise HTTPException(415, f"The character set {format_value(charset)} is not supported. Send UTF-8.")
    if file_format is ImportFormat.CSV:
        _require_header_row(parameters.get("header", "present"))
    return file_format


def _require_header_row(header: str) -> None:
    """Raise a 415 error for the parameter `header` of text/csv (RFC 4180, section 3), unless it is `present`."""
    if header.lower() == "absent":
        detail = "A file without a header row is not supported. Add a row with the names of the columns."
        raise HTTPException(415, detail)
    if header.lower() != "present":
        detail = f"The parameter header={format_value(header)} of the content type is not valid. Use present."
        raise HTTPException(415, detail)


async def _store(database: Database, operation_id: UUID, rows: Iterable[Frame]) -> None:
    total = 0
    parts = _parts(rows)
    # In a thread, because splitting a long file takes a second or two.
    while part := await asyncio.to_thread(next, parts, None):
        await repository.store(database, operation_id, total + 1, part)
        total += len(part)
        if total > ROWS_MAX:
            raise HTTPException(413, f"The file has more than {ROWS_MAX:,} rows. Split it into smaller files.")
    await repository.set_total(database, operation_id, total)


def _parts(rows: Iterable[Frame]) -> Iterator[list[Frame]]:
    part: list[Frame] = []
    size = 0
    for row in rows:
        part.append(row)
        size += len(row.body or b"")
        if len(part) >= STORED_ROWS or size >= STORED_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
