"""What the operation endpoints answer."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.states import ImportFormat, OperationState

ERRORS_MAX = 100
"""Errors that an operation keeps; of the others it knows how many they were."""

_EXAMPLE: dict[str, Any] = {
    "id": "0199b4f4-8c5e-7a31-9d2b-3f6a1c0e5d77",
    "kind": "import",
    "state": "finished",
    "dry_run": False,
    "format": "ndjson",
    "total": 300,
    "done": 300,
    "created": 290,
    "updated": 5,
    "unchanged": 4,
    "skipped": 0,
    "failed": 1,
    "requested_by": "alice",
    "created_at": "2026-11-24T09:55:10Z",
    "started_at": "2026-11-24T09:55:10Z",
    "finished_at": "2026-11-24T09:55:12Z",
}
_ERROR: dict[str, Any] = {
    "row": 17,
    "line": 17,
    "pointer": "#/title",
    "rule": "string_too_short",
    "detail": "String should have at least 1 character",
}


class RowError(BaseModel):
    """A rule that a row of the file breaks."""

    row: int = Field(description="From 1; a CSV file's header is none")
    line: int | None = Field(description="Of the file, where it has lines")
    pointer: str = Field(description="JSON Pointer (RFC 6901) into the row; in CSV `#/` and the column")
    rule: str = Field(description="The rule's stable name")
    detail: str


class OperationSummary(BaseModel):
    """Work that goes on after its request was answered, and how far it has come."""

    id: UUID
    kind: Literal["import"] = "import"
    state: OperationState = Field(description="`finished` even where rows have failed: `failed` counts them")
    dry_run: bool = Field(description="It changes nothing, and counts what would change")
    format: ImportFormat
    total: int = Field(description="Rows of the file")
    done: int = Field(description="Rows that are over; the sum of the following five")
    created: int
    updated: int
    unchanged: int = Field(description="As the row says already, or changed here by somebody since")
    skipped: int = Field(description="Pull requests, and issues that were deleted here")
    failed: int
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Operation(OperationSummary):
    """An operation with the errors of its rows."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_EXAMPLE, "errors": [_ERROR], "errors_omitted": 0}]}
    )

    errors: list[RowError] = Field(description=f"In the order of the rows, the first {ERRORS_MAX}")
    errors_omitted: int = Field(description="How many more there are")


class OperationPage(BaseModel):
    """A page of operations, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_EXAMPLE], "next_cursor": None}]})

    items: list[OperationSummary]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last")
