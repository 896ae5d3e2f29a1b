"""The schedules in the database."""

from datetime import datetime
from typing import Any

from api.database import Database
from api.schedules.schemas import Schedule, ScheduleSettings
from contracts.names import TASK_OF, ScheduleName

# The last job may have been pruned.
_FIND = """
SELECT name, cron, time_zone, next_run_at IS NOT NULL AS enabled, next_run_at, last_run_at,
    job.id AS last_job_id, job.state AS last_job_state
FROM schedule LEFT JOIN job ON job.id = last_job_id
WHERE name = ANY($1) ORDER BY name
"""

# The clock of this transaction may be behind that of a run which it waited for.
_LOCK = """
SELECT cron, time_zone, next_run_at IS NOT NULL AS enabled, greatest(now(), last_run_at) AS after
FROM schedule WHERE name = $1 FOR UPDATE
"""

_SET = """
INSERT INTO schedule (name, cron, time_zone, next_run_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET cron = $2, time_zone = $3, next_run_at = $4
"""

_OVERDUE = """
SELECT name, extract(epoch FROM now() - next_run_at)::float8 FROM schedule
WHERE next_run_at < now() AND name = ANY($1) ORDER BY name
"""

_MISSING = (
    "SELECT name FROM unnest($1::text[]) AS name WHERE name NOT IN (SELECT name FROM schedule) ORDER BY name"
)


async def find_schedules(database: Database, *names: ScheduleName) -> list[Schedule]:
    """Return the schedules of these names, by name."""
    rows = await database.fetch(_FIND, names)
    return [Schedule(**row, task=TASK_OF[ScheduleName(row["name"])]) for row in rows]


async def lock_settings(database: Database, name: ScheduleName) -> tuple[ScheduleSettings, datetime] | None:
    """Lock a schedule; return its settings and the time after which it runs next, or None if it does not exist."""
    row: Any = await database.fetchrow(_LOCK, name)
    if row is None:
        return None
    settings = {field: row[field] for field in ScheduleSettings.model_fields}
    return ScheduleSettings.model_construct(**settings), row["after"]


async def set_settings(
    database: Database, name: ScheduleName, settings: ScheduleSettings, next_run_at: datetime | None
) -> None:
    """Store the settings of a schedule and its next run; insert a missing row."""
    await database.execute(_SET, name, settings.cron, settings.time_zone, next_run_at)


async def find_overdue(database: Database) -> dict[str, float]:
    """Return the seconds for which the overdue schedules wait, by name."""
    return dict(tuple(row) for row in await database.fetch(_OVERDUE, list(ScheduleName)))


async def find_missing(database: Database) -> list[str]:
    """Return the schedules whose row is missing. They never run."""
    return [row["name"] for row in await database.fetch(_MISSING, list(ScheduleName))]
