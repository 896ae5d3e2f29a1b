"""Read the periods of a search: `2026-01-31`, `>2026-01`, `<=2026`, `2026-01-01..2026-01-31`, all in UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DATE = re.compile(r"(?P<year>\d{4})(?:-(?P<month>\d\d?)(?:-(?P<day>\d\d?))?)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)?")


@dataclass(frozen=True, slots=True)
class Period:
    """The times from `start` to before `end`. None is unbounded."""

    start: datetime | None
    end: datetime | None


def read_period(value: str) -> Period:
    """Return the period of a text; raise ValueError or OverflowError."""
    first, is_range, last = value.partition("..")
    if is_range:
        start = None if first in {"", "*"} else _read_date(first).start
        return Period(start, None if last in {"", "*"} else _read_date(last).end)
    match = re.fullmatch(r"(>=|<=|>|<|=)?(.+)", value)
    if match is None:
        raise ValueError(value)
    operator, date = match.groups()
    period = _read_date(date)
    bounds = {
        ">": Period(period.end, None),
        ">=": Period(period.start, None),
        "<": Period(None, period.start),
        "<=": Period(None, period.end),
    }
    return bounds.get(operator, period)


def _read_date(value: str) -> Period:
    if _TIME.fullmatch(value):
        moment = datetime.fromisoformat(value.upper())
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        return Period(moment, moment + timedelta(microseconds=1))
    match = _DATE.fullmatch(value)
    if match is None:
        raise ValueError(value)
    year, month, day = (None if part is None else int(part) for part in match.group("year", "month", "day"))
    assert year is not None
    start = datetime(year, month or 1, day or 1, tzinfo=UTC)
    if day is not None:
        return Period(start, start + timedelta(days=1))
    if month is not None:
        return Period(start, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC))
    return Period(start, datetime(year + 1, 1, 1, tzinfo=UTC))
