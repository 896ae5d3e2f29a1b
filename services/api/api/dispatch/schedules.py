"""Run the schedules that are due. Each run is one transaction, by whichever dispatcher locks the schedule first.

Only the clock of the database counts. The next run is the first one after now, so that missed runs happen once.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import structlog

from api.database import Database, DatabaseUnavailable
from api.dispatch.pruning import prune_unless_unfinished
from api.enrichment.repository import start_due_trainings
from api.schedules.cron import find_next_run
from api.settings import ApiSettings
from contracts.names import ScheduleName

logger = structlog.get_logger(__name__)

_FIND_DUE = "SELECT name FROM schedule WHERE next_run_at <= now() AND name = ANY($1)"

_LOCK_DUE = """
SELECT cron, time_zone, last_run_at, last_job_id, now() AS now
FROM schedule WHERE name = $1 AND next_run_at <= now() FOR UPDATE SKIP LOCKED
"""

_ADVANCE = """
UPDATE schedule SET next_run_at = $2, last_run_at = now(), last_job_id = coalesce($3, last_job_id) WHERE name = $1
"""


async def run_due(database: Database, settings: ApiSettings) -> bool:
    """Run the due schedules, unless another dispatcher does; return whether a job was created.

    A fault of one schedule does not stop the others; an outage of the database does.
    """
    has_jobs = False
    for row in await database.fetch(_FIND_DUE, list(ScheduleName)):
        try:
            has_jobs |= await _run(database, settings, ScheduleName(row["name"]))
        except DatabaseUnavailable:
            raise
        except Exception:
            logger.exception("schedule_failed", schedule=row["name"])
    return has_jobs


async def _run(database: Database, settings: ApiSettings, name: ScheduleName) -> bool:
    async with database.transaction():
        due: Any = await database.fetchrow(_LOCK_DUE, name)
        if due is None:
            return False
        job_id = await _CREATE_JOBS[name](database, settings, due)
        next_run_at = find_next_run(due["cron"], due["time_zone"], due["now"])
        await database.execute(_ADVANCE, name, next_run_at, job_id)
    logger.info(
        "schedule_fired", schedule=name, job_id=job_id and str(job_id), next_run_at=next_run_at.isoformat()
    )
    return job_id is not None


async def _prune(database: Database, _: ApiSettings, due: Mapping[str, Any]) -> UUID | None:
    return await prune_unless_unfinished(database, due["last_job_id"])


async def _retrain(database: Database, settings: ApiSettings, due: Mapping[str, Any]) -> UUID | None:
    if settings.retrain_after == 0:
        return None
    return await start_due_trainings(database, settings.retrain_after, due["last_run_at"])


_CREATE_JOBS: dict[ScheduleName, Callable[[Database, ApiSettings, Mapping[str, Any]], Awaitable[UUID | None]]] = {
    ScheduleName.PRUNE: _prune,
    ScheduleName.RETRAIN: _retrain,
}
"""Creates the jobs of a run in its transaction; returns the last one, or None if there is nothing to do."""
