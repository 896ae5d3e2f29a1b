"""Response models of the operation endpoints."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.states import ImportFormat, OperationState

ERRORS_MAX = 100
"""Errors that an operation stores; further ones are only counted."""

_EXAMPLE: dict[str, Any] = {
    "id": "0199b4f4-8c5e-7a31-9d2b-3f6a1c0e5d77",
    "kind": "import",
    "state": "finished",
    "dry_run": False,
    "format": "ndjson",
    "encoding": "utf-8",
    "export": None,
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
    "rows_per_s": None,
    "remaining_s": None,
}
_ERROR: dict[str, Any] = {
    "row": 17,
    "line": 17,
    "pointer": "#/title",
    "rule": "string_too_short",
    "detail": "The text is empty. Use at least 1 character.",
}
_PROBLEM: dict[str, Any] = {name: _ERROR[name] for name in ("pointer", "rule", "detail")} | {
    "rows": 1,
    "first_row": 17,
}


class RowError(BaseModel):
    """An error in one row of the file."""

    row: int = Field(description="Row number from 1, without the header of a CSV file")
    line: int | None = Field(description="Line number in the file; null for a JSON array")
    pointer: str = Field(description="JSON Pointer (RFC 6901) into the row; for CSV, `#/` and the column")
    rule: str = Field(description="Stable name of the rule")
    detail: str


class GroupedError(BaseModel):
    """An error that some rows of the file have in common."""

    pointer: str = Field(description="As in `errors`")
    rule: str
    detail: str
    rows: int = Field(description="Number of rows with this error")
    first_row: int


class OperationSummary(BaseModel):
    """A long-running operation and its progress."""

    id: UUID
    kind: Literal["import"] = "import"
    state: OperationState = Field(description="`finished` even if rows have failed; see `failed`")
    dry_run: bool = Field(description="Whether changes are only counted")
    format: ImportFormat
    encoding: str | None = Field(description="Encoding of a text file, such as `cp1252`")
    export: str | None = Field(description="The known export that a sheet is, such as `jira`")
    total: int = Field(description="Number of rows in the file")
    done: int = Field(description="Number of processed rows: the sum of the next five fields")
    created: int
    updated: int
    unchanged: int = Field(description="Rows equal to their issue, or whose changed fields a user has edited")
    skipped: int = Field(description="Pull requests, and issues that a user has deleted")
    failed: int
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    rows_per_s: float | None = Field(default=None, description="Processed rows per second, while it runs")
    remaining_s: float | None = Field(default=None, description="Estimated seconds until it finishes")


class Operation(OperationSummary):
    """An operation with its row errors."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{**_EXAMPLE, "errors": [_ERROR], "errors_omitted": 0, "problems": [_PROBLEM]}]
        }
    )

    errors: list[RowError] = Field(description=f"First {ERRORS_MAX} errors, in row order")
    errors_omitted: int = Field(description="Number of further errors")
    problems: list[GroupedError] = Field(
        description=f"First {ERRORS_MAX} different errors, such as each unknown status once"
    )


class OperationPage(BaseModel):
    """A page of operations, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_EXAMPLE], "next_cursor": None}]})

    items: list[OperationSummary]
    next_cursor: str | None = Field(description="Value of `cursor` for the next page; null on the last page")
