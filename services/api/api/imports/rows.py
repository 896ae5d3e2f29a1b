"""Rows with the fields of an issue, and the rules of an import for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from api.imports import fields
from api.imports.dates import DateOrder
from api.imports.exports import GITLAB, fold
from api.imports.links import Link, read_gitlab_link, read_link
from api.imports.values import PRIORITY, STATUS
from api.issues.schemas import EXTERNAL_DETAILS, ExternalRecord, Project, Title
from api.problems import format_pointer
from contracts.states import IssueStatus, Priority
from contracts.validation import describe_error

FAULTS_MAX = 5
FAULT_CHARACTERS = 300
"""Maximum number of reported faults of one row, and of characters of each."""


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


@dataclass(frozen=True)
class RowRules:
    """How an import reads its rows."""

    source: str | None = None
    """The source system of rows that have none."""
    export: str | None = None
    """The name of the known export that the file is."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Fields by the names that rows of JSON have instead; an empty field ignores the member."""
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Statuses and priorities by the names in the file."""
    date_order: DateOrder | None = None

    @cached_property
    def names(self) -> dict[str, dict[str, str]]:
        """Statuses and priorities by names without case and blanks."""
        return {
            name: {fold(value): target for value, target in self.values.get(name, {}).items()}
            for name in (STATUS, PRIORITY)
        }


@dataclass(frozen=True, slots=True)
class Record:
    """An issue from a row; fields that the row does not have are None, or not set in `external`."""

    external: ExternalRecord
    title: str
    description: str | None
    status: IssueStatus | None
    priority: Priority | None
    project: str | None
    created_at: datetime | None

    @property
    def details(self) -> dict[str, Any]:
        """The history in the source system, as stored. None clears a detail; a missing one keeps its value."""
        return self.external.model_dump(mode="json", include=set(EXTERNAL_DETAILS), exclude_unset=True)


class RowExternal(ExternalRecord):
    """The identity of a row's issue, and its history, with the rules of rows."""

    source: fields.Source
    created_at: fields.Time = None
    updated_at: fields.Time = None
    closed_at: fields.Time = None


class Row(BaseModel):
    """A row of NDJSON or of a sheet; flat, or with `external` as in a POST."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    description: fields.Text | None = None
    status: fields.Status = None
    priority: fields.Urgency = None
    project: Project | None = None
    external: RowExternal | None = None
    source: fields.Source | None = None
    external_id: fields.Id | None = None
    url: fields.Url = None
    created_at: fields.Time = None
    updated_at: fields.Time = None
    closed_at: fields.Time = None
    author: fields.Person = None
    assignee: fields.Person = None

    def record(self, rules: RowRules) -> Record:
        """Return the issue; raise InvalidRow."""
        # As in a PATCH, null clears a description, and a missing one keeps its value.
        description = self.description or "" if "description" in self.model_fields_set else None
        external = self._external(rules)
        return Record(
            *(external, self.title, description, self.status, self.priority, self.project),
            created_at=external.created_at,
        )

    def _external(self, rules: RowRules) -> ExternalRecord:
        if self.external is not None:
            if {"source", "external_id", "url", *EXTERNAL_DETAILS} & self.model_fields_set:
                detail = "The row has both external and flat fields. Use one of them."
                raise InvalidRow(RowProblem("#/external", "external_twice", detail))
            return self.external
        if self.external_id is None:
            detail = "The external id is required, because it identifies the issue in later imports."
            raise InvalidRow(RowProblem("#/external_id", "missing", detail))
        source = self.source or self._find_source(rules, self.external_id)
        if source is None:
            detail = "The source is required. Set it in the row, or as the query parameter source."
            raise InvalidRow(RowProblem("#/source", "missing", detail))
        details = {name: getattr(self, name) for name in EXTERNAL_DETAILS if name in self.model_fields_set}
        return ExternalRecord(source=source, id=self.external_id, url=self.url, **details)

    def _find_source(self, rules: RowRules, external_id: str) -> str | None:
        if rules.export is None:
            return rules.source or find_source(read_link(self.url), external_id, None)
        if rules.export == GITLAB:  # its ids are unique in a project only
            return _read_source(find_source(read_gitlab_link(self.url), external_id, rules.source))
        if rules.source:
            return rules.source
        prefix, separator, _ = external_id.rpartition("-")  # SHOP-12 of Jira and Linear
        return _read_source(f"{rules.export}:{prefix}" if separator else rules.export)


def find_source(link: Link | None, external_id: str, source: str | None) -> str | None:
    """Return the source of the link if it is the issue's own, else `source`, which is the request's."""
    return link.source if link is not None and link.id == external_id else source


def _read_source(text: str | None) -> str | None:
    try:
        return None if text is None else _SOURCE.validate_python(text)
    except ValidationError:
        return None


_SOURCE: TypeAdapter[str] = TypeAdapter(fields.Source)


def describe(error: ValidationError) -> list[RowProblem]:
    """Return the faults of a row in sentences."""
    return [
        RowProblem(
            _bounded(format_pointer(("body", *fault["loc"]))), fault["type"], _bounded(describe_error(fault))
        )
        for fault in error.errors(include_url=False)[:FAULTS_MAX]
    ]


def _bounded(text: str) -> str:
    """Cut a text that a row may make long, and replace the NUL characters that PostgreSQL cannot store."""
    return text[:FAULT_CHARACTERS].replace("\0", "\ufffd")


def make_external(source: str, external_id: str, url: str | None, pointer: str, **details: Any) -> ExternalRecord:
    """Return the identity of an issue of a tracker; raise InvalidRow if the source is not valid."""
    try:
        return ExternalRecord(source=source, id=external_id, url=url, **details)
    except ValidationError as error:
        detail = f"The project of the URL is not a valid source. {describe(error)[0].detail}"
        raise InvalidRow(RowProblem(pointer, "source", detail)) from None
