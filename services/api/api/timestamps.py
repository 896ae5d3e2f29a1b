"""Timestamps in requests: RFC 3339 with an offset only, although pydantic accepts more formats."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

from contracts.validation import format_value

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


def _rfc_3339(value: object) -> object:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        shown = {"value": format_value(value)}
        raise PydanticCustomError(
            "rfc_3339", "{value} is not valid. Use a time such as 2026-11-24T09:55:10Z.", shown
        )
    return value


Timestamp = Annotated[AwareDatetime, BeforeValidator(_rfc_3339)]


def to_utc(timestamp: datetime | None) -> datetime | None:
    """Return the timestamp in UTC, clamped to the range that PostgreSQL's driver accepts."""
    if timestamp is None:
        return None
    try:
        return timestamp.astimezone(UTC)
    except OverflowError:
        return _FIRST if timestamp.year == _FIRST.year else _LAST


CursorTime = Annotated[AwareDatetime, AfterValidator(to_utc)]
"""A timestamp of a cursor, which a client may have changed."""
