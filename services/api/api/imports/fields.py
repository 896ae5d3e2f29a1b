"""Types of the fields of imported rows."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints, ValidationInfo

from api.imports.dates import read_time
from api.imports.values import PRIORITY, STATUS, read_name
from api.issues.schemas import Description, ExternalId, PersonName
from api.text import HttpUrl
from contracts.limits import EXTERNAL_SOURCE_PATTERN, EXTERNAL_URL_MAX
from contracts.states import IssueStatus, Priority


def _strip(value: object) -> object:
    return (value.strip() or None) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _rules(info: ValidationInfo) -> Any:
    """Return the `RowRules` of the import."""
    return info.context


def _status(value: object, info: ValidationInfo) -> object:
    return read_name(STATUS, value, _rules(info).names[STATUS])


def _priority(value: object, info: ValidationInfo) -> object:
    return read_name(PRIORITY, value, _rules(info).names[PRIORITY])


def _time(value: object, info: ValidationInfo) -> object:
    return read_time(value, _rules(info).date_order)


def _name(value: object) -> object:
    """Return the name of a person of GitHub, GitLab or Jira, which may be an object."""
    if isinstance(value, dict):
        known: dict[str, Any] = value
        names = (known.get(key) for key in ("login", "username", "displayName", "name"))
        value = next((name for name in names if name), None)
    return _strip(value)


def _first(value: object) -> object:
    return (value[0] if value else None) if isinstance(value, list) else value


Source = Annotated[str, BeforeValidator(_lower), StringConstraints(pattern=EXTERNAL_SOURCE_PATTERN)]
"""A source system. Upper case is accepted and lowered."""
Url = Annotated[HttpUrl | None, StringConstraints(max_length=EXTERNAL_URL_MAX), BeforeValidator(_strip)]
Id = Annotated[ExternalId, BeforeValidator(_digits)]
Text = Description
Status = Annotated[IssueStatus | None, BeforeValidator(_status)]
Urgency = Annotated[Priority | None, BeforeValidator(_priority)]
Time = Annotated[datetime | None, BeforeValidator(_time)]
RequiredTime = Annotated[datetime, BeforeValidator(_time)]
Person = Annotated[PersonName | None, BeforeValidator(_name)]
FirstPerson = Annotated[Person, BeforeValidator(_first)]
"""The first of several people."""
