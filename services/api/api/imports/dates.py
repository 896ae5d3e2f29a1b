"""Read the times of exports: ISO 8601, and the formats of Jira, Redmine, JavaScript and spreadsheets."""

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from contracts.validation import format_value

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTH_MAX = 100
"""Characters of a time. The time of the patterns grows with the square of the length."""
_FORMAT = "Use ISO 8601, such as 2026-03-12T09:41:00Z."
_RANGE = "Use a time between 1970 and today."
_CLOCK = r"(?:[ ,T]+(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?\s*([AaPp]\.?[Mm]\.?)?)?"
_NUMERIC = re.compile(rf"(\d{{1,2}})([/.\-])(\d{{1,2}})\2(\d{{4}}|\d\d){_CLOCK}")
_YEAR_FIRST = re.compile(rf"(\d{{4}})([/.\-])(\d{{1,2}})\2(\d{{1,2}}){_CLOCK}")
_NAMED = re.compile(rf"(\d{{1,2}})[ /\-.]([A-Za-z]{{3}})[a-z]*\.?[ /\-.,]+(\d{{4}}|\d\d){_CLOCK}")
_AMERICAN = re.compile(rf"(?:[A-Za-z]{{3,9}},? )?([A-Za-z]{{3}})[a-z]*\.? (\d{{1,2}}),? (\d{{4}}){_CLOCK}")
_SPACED_ZONE = re.compile(r"\s+(?=(?:[+-]\d\d:?\d\d|Z)$)")
# The end of JavaScript's Date.toString(): "GMT+0100 (Central European Time)".
_ZONE = re.compile(r"\s*(?:GMT|UTC)?([+-]\d\d):?([0-5]\d)(?: ?\(.*\))?$|\s*(?:GMT|UTC|Z)(?: ?\(.*\))?$")
_NUMBER: TypeAdapter[datetime] = TypeAdapter(datetime)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class DateOrder(StrEnum):
    """The order of day and month in dates such as 03/04/2026."""

    DAY_FIRST = "dmy"
    MONTH_FIRST = "mdy"


def read_time(value: object, order: DateOrder | None) -> object:
    """Return the time in UTC; a time without a zone is in UTC. A number has seconds or milliseconds since 1970.

    Raise a PydanticCustomError for a value that is not a time, is ambiguous, or is before 1970 or in the future.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        if len(text) > _LENGTH_MAX:
            raise _error(value, _FORMAT)
        return _check(_read(text, order, value), value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _error(value, _FORMAT)
    try:
        return _check(_NUMBER.validate_python(value), value)
    except ValidationError:
        raise _error(value, _RANGE) from None


def _check(time: datetime, shown: object) -> datetime:
    latest = datetime.now(UTC) + timedelta(days=1)
    # The years are checked first, because the conversion of others may overflow.
    if not _EARLIEST.year - 1 <= time.year <= latest.year + 1:
        raise _error(shown, _RANGE)
    time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    if not _EARLIEST <= time <= latest:
        raise _error(shown, _RANGE)
    return time


def _read(text: str, order: DateOrder | None, shown: str) -> datetime:
    try:
        return datetime.fromisoformat(_SPACED_ZONE.sub("", text))
    except ValueError:
        pass
    zone = _ZONE.search(text)
    offset = timedelta()
    if zone and (zone[1] is None or ":" in text[: zone.start()]):  # the end of 12-03-2026 is not an offset
        text = text[: zone.start()]
        if zone[1]:
            offset = timedelta(hours=int(zone[1]), minutes=int(zone[1][0] + zone[2]))
    try:
        return _read_local(text, order, shown).replace(tzinfo=timezone(offset))
    except PydanticCustomError:
        raise
    except (ValueError, OverflowError):
        raise _error(shown, _FORMAT) from None


def _read_local(text: str, order: DateOrder | None, shown: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    if year_first := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, *clock = year_first.groups()
        return _build(year, int(month), int(day), clock)
    if named := _NAMED.fullmatch(text):
        day, month, year, *clock = named.groups()
        return _build(year, _month(month), int(day), clock)
    if american := _AMERICAN.fullmatch(text):
        month, day, year, *clock = american.groups()
        return _build(year, _month(month), int(day), clock)
    if numeric := _NUMERIC.fullmatch(text):
        first, separator, second, year, *clock = numeric.groups()
        day_first = _is_day_first(int(first), int(second), separator, order)
        if day_first is None:
            raise _error(shown, "Day and month are ambiguous. Set date_order to dmy or mdy.")
        if order is not None and int(second if day_first else first) > 12:
            raise _error(shown, f"It contradicts date_order={order}, because there are 12 months.")
        day, month = (int(first), int(second)) if day_first else (int(second), int(first))
        return _build(year, month, day, clock)
    raise ValueError(text)


def _is_day_first(first: int, second: int, separator: str, order: DateOrder | None) -> bool | None:
    """Return whether a date begins with the day: as requested, else by its numbers; None if it is ambiguous."""
    if order is not None:
        return order is DateOrder.DAY_FIRST
    if first == second or first > 12 or separator == ".":
        return True
    return False if second > 12 else None


def _month(name: str) -> int:
    return _MONTHS.index(name.lower()) + 1


def _build(year: str, month: int, day: int, clock: list[str | None]) -> datetime:
    hour, minute, second = (int(part or 0) for part in clock[:3])
    if clock[3]:
        if hour > 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if clock[3].lower().startswith("p") else 0)
    return datetime(int(year) + (2000 if len(year) == 2 else 0), month, day, hour, minute, second)  # noqa: DTZ001


def _error(shown: object, rule: str) -> PydanticCustomError:
    return PydanticCustomError(
        "date", "{value} is not valid. {rule}", {"value": format_value(shown), "rule": rule}
    )
