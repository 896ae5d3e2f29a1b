"""The times of cron expressions, also over clock changes.

A time that does not exist runs once, at the next instant that does. A time that occurs twice runs the first time.
Only an expression for every hour follows elapsed time, so that a clock change neither skips nor repeats its runs.
"""

from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = "minute, hour, day of the month, month and day of the week"
_ANY_DATE = datetime(2000, 1, 1, tzinfo=UTC)


def check_cron(cron: str) -> None:
    """Raise ValueError, with the broken rule, unless it is a cron expression that occurs within 50 years."""
    if len(cron.split()) != 5:
        raise ValueError(f"Use five fields: {FIELDS}")
    try:
        find_next_run(cron, "UTC", _ANY_DATE)
    except CronSimError as error:
        what = str(error).removeprefix("Bad ").replace("-", " ")
        raise ValueError(f"Use a valid {what}") from None


def check_time_zone(name: str) -> None:
    """Raise ValueError unless it is the name of an IANA time zone."""
    if name not in _list_time_zones():
        raise ValueError("Use the name of an IANA time zone such as Europe/Berlin or UTC")


@cache
def _list_time_zones() -> frozenset[str]:
    """Return IANA's names. ZoneInfo also accepts other files, such as `localtime` and `right/UTC`."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())


def find_next_run(cron: str, time_zone: str, after: datetime) -> datetime:
    """Return the first time after `after`, in UTC; raise ValueError or KeyError for a wrong schedule."""
    runs = CronSim(_without_wildcards(cron), after.astimezone(ZoneInfo(time_zone)))
    for run in map(_in_utc, runs):
        # CronSim takes the second occurrence of a repeated time for the first one.
        if run > after:
            return run
    raise ValueError("Use a date that occurs")


def _without_wildcards(cron: str) -> str:
    """Return the expression without wildcards in minute and hour, unless it is for every hour.

    CronSim follows elapsed time for every wildcard there, so `*/30 2 * * *` would not run on some days.
    """
    minute, hour, *days = cron.split()
    if len(CronSim(cron, _ANY_DATE).hours) == 24:
        hour = "*"
    else:
        minute, hour = minute.replace("*", "0-59"), hour.replace("*", "0-23")
    return " ".join([minute, hour, *days])


def _in_utc(run: datetime) -> datetime:
    return run.astimezone(UTC)
