"""Schedules of tests, which start with none."""

from contracts.names import ScheduleName
from tests.support.database import Database
from tests.support.waiting import wait_until

NEW_YEAR = "0 0 1 1 *"


def add_schedule(database: Database, name: str, cron: str = NEW_YEAR, zone: str = "UTC") -> None:
    """Insert a schedule that is disabled."""
    database.query("INSERT INTO schedule (name, cron, time_zone) VALUES (%s, %s, %s)", name, cron, zone)


def add_schedules(database: Database) -> None:
    """Insert every schedule, without which `issuetracker doctor` reports a fault."""
    for name in ScheduleName:
        add_schedule(database, name)


def make_due(database: Database, name: str) -> None:
    database.query("UPDATE schedule SET next_run_at = now() WHERE name = %s", name)


def run_schedule(database: Database, name: str) -> None:
    """Make a schedule due, and wait until a dispatcher has run it."""
    if database.one("SELECT count(*) FROM schedule WHERE name = %s", name) == 0:
        add_schedule(database, name)
    make_due(database, name)
    is_run = "SELECT next_run_at > now() FROM schedule WHERE name = %s"
    wait_until(lambda: bool(database.one(is_run, name)), f"the run of the schedule {name}")
