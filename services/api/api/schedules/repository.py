"""The schedules in the database."""

from datetime import datetime
from typing import Any

from api.database import Database
from api.schedules.names import TASK_OF, ScheduleName
from api.schedules.schemas import Schedule, ScheduleSettings

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

_SET = "UPDATE schedule SET cron = $2, time_zone = $3, next_run_at = $4 WHERE name = $1"

_OVERDUE = """
SELECT name, extract(epoch FROM now() - next_run_at)::float8 FROM schedule
WHERE next_run_at < now() AND name = ANY($1) ORDER BY name
"""


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
    """Store the settings of a schedule and its next run."""
    await database.execute(_SET, name, settings.cron, settings.time_zone, next_run_at)


async def find_overdue(database: Database) -> dict[str, float]:
    """Return the seconds for which the overdue schedules wait, by name."""
    return dict(tuple(row) for row in await database.fetch(_OVERDUE, list(ScheduleName)))
