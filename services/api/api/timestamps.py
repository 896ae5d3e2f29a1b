"""Points in time as requests name them: RFC 3339 with an offset, and nothing else that pydantic would take."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


def _rfc_3339(value: object) -> object:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise PydanticCustomError("rfc_3339", "Time should be as in 2026-11-24T09:55:10Z")
    return value


Timestamp = Annotated[AwareDatetime, BeforeValidator(_rfc_3339)]


def to_utc(timestamp: datetime | None) -> datetime | None:
    """Return the moment in UTC, at the ends of time the end itself: PostgreSQL's driver would raise."""
    if timestamp is None:
        return None
    try:
        return timestamp.astimezone(UTC)
    except OverflowError:
        return _FIRST if timestamp.year == _FIRST.year else _LAST
