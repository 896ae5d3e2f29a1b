"""The endpoint that imports files of issues."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError
from starlette.datastructures import Headers

from api.database import Database, DatabaseDep
from api.imports import repository
from api.imports.containers import is_workbook, unpack
from api.imports.dates import DateOrder
from api.imports.exports import FIELDS
from api.imports.fields import Source
from api.imports.frames import Frame, Reading, open_file
from api.imports.repository import ImportRequest
from api.imports.values import TARGETS
from api.issues.schemas import Project
from api.media_type import read_media_type
from api.operations.repository import get_operation
from api.operations.schemas import Operation
from api.text import NOT_NUL, NOT_NUL_SCHEMA
from contracts.states import ImportFormat
from contracts.validation import format_value

PATH = "/api/v1/imports"
router = APIRouter(prefix=PATH, tags=["operations"])

_WORKBOOKS = asyncio.Semaphore(1)
"""Workbooks that an API process reads at a time; the process of each one needs up to 192 MB."""
STORED_ROWS = 1000
STORED_BYTES = 1024 * 1024
"""Bounds of what one statement stores, so that other requests run in between."""
ROWS_MAX = 100_000
"""Rows of one file; one statement deletes them all."""
COLUMNS_MAX = 60
VALUES_MAX = 30
"""Mapped columns and mapped names of one request. A query has at most 100 parameters."""

_CSV = "text/csv"
_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_FORMATS = {
    **dict.fromkeys(
        (_NDJSON, "application/ndjson", "application/jsonl", "application/x-jsonlines"), ImportFormat.NDJSON
    ),
    # Browsers on Windows send the type of Excel with CSV files.
    **dict.fromkeys(
        (_CSV, "text/tab-separated-values", "application/csv", "application/vnd.ms-excel"), ImportFormat.CSV
    ),
    _JSON: ImportFormat.JSON,
    _XLSX: ImportFormat.XLSX,
    **dict.fromkeys(("application/octet-stream", "application/gzip", "application/x-gzip", "text/plain"), None),
}
"""Formats by content type; None: recognised by the content."""
_BODIES: dict[str, Any] = {
    _NDJSON: {
        "schema": {"type": "string", "description": "One JSON object per line"},
        "example": '{"title": "Login fails", "description": "A click does nothing.", "status": "open", '
        '"priority": "high", "source": "github:acme/shop", "external_id": "1207"}\n',
    },
    _CSV: {
        "schema": {"type": "string", "description": "A header row, and values separated by , ; | or tabs"},
        "example": "title,description,status,priority,source,external_id\n"
        "Login fails,A click does nothing.,open,high,github:acme/shop,1207\n",
    },
    _JSON: {
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
    _XLSX: {"schema": {"type": "string", "format": "binary", "description": "An Excel workbook"}},
    "application/octet-stream": {
        "schema": {"type": "string", "format": "binary", "description": "Any of these, also compressed with gzip"}
    },
}


def _split_last(text: str) -> tuple[str, str]:
    name, _, target = text.rpartition("=")
    return name.strip(), target.strip()


def _check_column(text: str) -> str:
    name, field = _split_last(text)
    if not name or (field and field not in FIELDS):
        shown = {"value": format_value(text), "fields": ", ".join(FIELDS)}
        raise PydanticCustomError("map", "{value} is not valid. Use COLUMN=FIELD with one of {fields}.", shown)
    return text


def _check_value(text: str) -> str:
    named, target = _split_last(text)
    field, _, name = named.partition(":")
    if field not in TARGETS or not name or target not in TARGETS[field]:
        shown = {"value": format_value(text)}
        detail = (
            "{value} is not valid. Use status:NAME=STATUS or priority:NAME=PRIORITY, such as status:Waiting=open."
        )
        raise PydanticCustomError("value", detail, shown)
    return text


def _pattern(*alternatives: str) -> Any:
    """Describe in the OpenAPI document what the validator checks: a name before the last `=`."""
    return Field(json_schema_extra={"pattern": rf"^\s*(?:{'|'.join(alternatives)})\s*$"})


_NAME = r"[^\x00]*[^\s\x00][^\x00]*"
ColumnField = Annotated[
    str,
    StringConstraints(max_length=300),
    NOT_NUL,
    AfterValidator(_check_column),
    _pattern(rf"{_NAME}=\s*(?:{'|'.join(FIELDS)})?"),
]
NamedValue = Annotated[
    str,
    StringConstraints(max_length=300),
    NOT_NUL,
    AfterValidator(_check_value),
    _pattern(*(rf"{field}:{_NAME}=\s*(?:{'|'.join(targets)})" for field, targets in TARGETS.items())),
]


class ImportQuery(BaseModel):
    """Options of an import."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(default=False, description="Count changes without making them")
    project: Project | None = Field(default=None, description="Project of new issues whose row has none")
    source: Annotated[Source, _pattern("[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}")] | None = Field(
        default=None,
        description="Source system of rows that have none, such as `jira:shop`",
    )
    map: list[ColumnField] = Field(
        default=[],
        max_length=COLUMNS_MAX,
        description="`COLUMN=FIELD`, such as `Summary=title`; `COLUMN=` ignores the column. Repeat it",
    )
    value: list[NamedValue] = Field(
        default=[],
        max_length=VALUES_MAX,
        description="`status:NAME=STATUS` or `priority:NAME=PRIORITY`, such as `status:Waiting=open`",
    )
    sheet: Annotated[str, StringConstraints(max_length=100), NOT_NUL, NOT_NUL_SCHEMA] | None = Field(
        default=None, description="Sheet of a workbook; the first by default"
    )
    date_order: DateOrder | None = Field(
        default=None, description="Order of day and month in dates such as 03/04/2026"
    )

    def mapping(self) -> dict[str, Any]:
        """Return the fields of columns, the values of names and the order of dates."""
        columns = dict(_split_last(each) for each in self.map)
        values: dict[str, dict[str, str]] = {}
        for each in self.value:
            named, target = _split_last(each)
            field, _, name = named.partition(":")
            values.setdefault(field, {})[name] = target
        return {"columns": columns, "values": values, "date_order": self.date_order}


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
    file_format, charset = _read_content_type(request.headers)
    mapping = query.mapping()
    max_bytes = request.app.state.settings.import_max_bytes
    reading = Reading(file_format, charset, query.sheet, mapping["columns"])
    # In threads, because unpacking, recognising and splitting a long file takes a second or two.
    body = await asyncio.to_thread(unpack, await request.body(), max_bytes)
    async with _WORKBOOKS if is_workbook(body) else nullcontext():
        file = await asyncio.to_thread(open_file, body, reading)
        import_request = ImportRequest(
            *(file.format, query.dry_run, query.project, query.source, mapping, file.encoding, file.export)
        )
        async with database.transaction():
            operation_id = await repository.begin(database, import_request)
            await _store(database, operation_id, file.rows)
            operation = await get_operation(database, operation_id)
    assert operation is not None
    request.app.state.importer.wake()
    response.headers["Location"] = str(request.app.url_path_for("get_operation", operation_id=operation_id))
    return operation


def _read_content_type(headers: Headers) -> tuple[ImportFormat | None, str | None]:
    """Return the declared format and character set; raise a 415 error."""
    media_type, parameters = read_media_type(headers.get("content-type", "application/octet-stream"))
    if media_type not in _FORMATS:
        detail = f"The content type is not supported. Send the body as {_NDJSON}, {_CSV}, {_JSON} or {_XLSX}."
        raise HTTPException(415, detail)
    file_format = _FORMATS[media_type]
    if file_format is ImportFormat.CSV:
        _require_header_row(parameters.get("header", "present"))
    return file_format, parameters.get("charset")


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
