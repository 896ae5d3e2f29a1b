"""Read one row of a file as an issue, with the rules of `POST /api/v1/issues`."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from api.issues.schemas import Description, External, ExternalId, Project, Title
from api.json_shape import explain_excess
from api.problems import format_pointer
from api.text import HttpUrl
from contracts.limits import EXTERNAL_SOURCE_PATTERN, EXTERNAL_URL_MAX
from contracts.states import ImportFormat, IssueStatus, Priority
from contracts.validation import describe_error

COLUMNS = ("title", "description", "status", "priority", "project", "source", "external_id", "url")
REQUIRED_COLUMNS = ("title", "external_id")
"""Required columns of a CSV file."""

FAULTS_MAX = 5
FAULT_CHARACTERS = 300
"""Maximum number of reported faults of one row, and of characters of each."""

_GITHUB_URL = re.compile(r"https://github\.com/([^/]+/[^/]+)/(?:issues|pull)/\d+")


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A fault of a row."""

    pointer: str
    rule: str
    detail: str


class InvalidRow(Exception):
    """A row that is not a valid issue."""

    def __init__(self, *faults: RowProblem) -> None:
        super().__init__()
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Record:
    """An issue from a row; fields that the row does not have are None."""

    external: External
    title: str
    description: str | None
    status: IssueStatus | None
    priority: Priority | None
    project: str | None


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Source = Annotated[str, BeforeValidator(_lower), StringConstraints(pattern=EXTERNAL_SOURCE_PATTERN)]
"""A source system. Upper case is accepted and lowered."""
Url = Annotated[HttpUrl, StringConstraints(max_length=EXTERNAL_URL_MAX)]


class _RowExternal(External):
    source: Source


class _Row(BaseModel):
    """A row of NDJSON or CSV; flat, or with `external` as in a POST."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    description: Description | None = None
    status: IssueStatus | None = None
    priority: Priority | None = None
    project: Project | None = None
    external: _RowExternal | None = None
    source: Source | None = None
    external_id: Annotated[ExternalId, BeforeValidator(_digits)] | None = None
    url: Url | None = None


class _GithubIssue(BaseModel):
    """The used fields of an issue from GitHub's REST API or `gh issue list --json`; others are ignored."""

    number: Annotated[int, Field(ge=1)]
    title: Title
    body: Description | None = None
    state: Annotated[str, BeforeValidator(_lower), StringConstraints(pattern="^(open|closed)$")] | None = None
    html_url: Url | None = None
    url: Url | None = None
    pull_request: Any = None


def read(file_format: ImportFormat, body: bytes, default_source: str | None) -> Record | None:
    """Return the issue of a row, or None for a pull request; raise InvalidRow.

    `default_source` is the source system of rows that have none.
    """
    try:
        if file_format is ImportFormat.GITHUB:
            return _of_github(_GithubIssue.model_validate_json(body), default_source)
        _require_bounded(body)
        return _of_row(_Row.model_validate_json(body), default_source)
    except ValidationError as error:
        raise InvalidRow(*_faults(error)) from None


def _require_bounded(body: bytes) -> None:
    """Raise InvalidRow before the validation of a row with too many values."""
    try:
        excess = explain_excess(from_json(body))
    except ValueError:
        return  # the validation describes invalid JSON
    if excess is not None:
        raise InvalidRow(RowProblem("#", "too_many_values", excess))


def _faults(error: ValidationError) -> list[RowProblem]:
    return [
        RowProblem(
            _bounded(format_pointer(("body", *fault["loc"]))), fault["type"], _bounded(describe_error(fault))
        )
        for fault in error.errors(include_url=False)[:FAULTS_MAX]
    ]


def _bounded(text: str) -> str:
    """Cut a text that a row may make long, and replace the NUL characters that PostgreSQL cannot store."""
    return text[:FAULT_CHARACTERS].replace("\0", "\ufffd")


def _of_row(row: _Row, default_source: str | None) -> Record:
    # As in a PATCH, null clears a description, and a missing one keeps its value.
    description = row.description or "" if "description" in row.model_fields_set else None
    return Record(_external(row, default_source), row.title, description, row.status, row.priority, row.project)


def _external(row: _Row, default_source: str | None) -> External:
    if row.external is not None:
        if {"source", "external_id", "url"} & row.model_fields_set:
            raise InvalidRow(
                RowProblem(
                    "#/external", "external_twice", "The row has both external and flat fields. Use one of them."
                )
            )
        return row.external
    source = row.source or default_source
    if row.external_id is None:
        detail = "The external id is required, because it identifies the issue in later imports."
        raise InvalidRow(RowProblem("#/external_id", "missing", detail))
    if source is None:
        raise InvalidRow(
            RowProblem(
                "#/source",
                "missing",
                "The source is required. Set it in the row, or as the query parameter source.",
            )
        )
    return External(source=source, id=row.external_id, url=row.url)


def _of_github(issue: _GithubIssue, default_source: str | None) -> Record | None:
    if issue.pull_request is not None:
        return None
    url = issue.html_url or issue.url
    named = _GITHUB_URL.fullmatch(url or "")
    source = f"github:{named[1].lower()}" if named else default_source
    if source is None:
        detail = "The row has no URL at github.com. Add it, or set the query parameter source."
        raise InvalidRow(RowProblem("#/html_url", "missing", detail))
    try:
        external = External(source=source, id=str(issue.number), url=url)
    except ValidationError as error:
        raise InvalidRow(
            RowProblem(
                "#/html_url",
                "source",
                f"The repository of the URL is not a valid source. {_faults(error)[0].detail}",
            )
        ) from None
    status = None if issue.state is None else IssueStatus(issue.state)
    return Record(external, issue.title, issue.body or "", status, None, None)
