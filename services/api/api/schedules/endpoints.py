"""The schedule endpoints, for admins."""

from datetime import UTC, datetime

from fastapi import APIRouter

from api.access.scopes import ADMIN
from api.audit_trail import record
from api.database import DatabaseDep
from api.schedules import repository
from api.schedules.cron import find_next_run
from api.schedules.schemas import Schedule, Schedules, ScheduleSettings
from contracts.names import ScheduleName

router = APIRouter(prefix="/api/v1/schedules", tags=["queues"], dependencies=[ADMIN])


@router.get("", operation_id="listSchedules", summary="List the schedules")
async def list_all(database: DatabaseDep) -> Schedules:
    """Return the schedules with their last and next run."""
    return Schedules(items=await repository.find_schedules(database, *ScheduleName))


@router.put("/{name}", operation_id="setSchedule", summary="Set when a schedule runs")
async def change(name: ScheduleName, settings: ScheduleSettings, database: DatabaseDep) -> Schedule:
    """Replace the settings, or create a schedule that was lost. A disabled one creates no jobs. Idempotent."""
    async with database.transaction():
        current, after = await repository.lock_settings(database, name) or (None, datetime.now(UTC))
        if settings != current:
            next_run_at = find_next_run(settings.cron, settings.time_zone, after) if settings.enabled else None
            await repository.set_settings(database, name, settings, next_run_at)
            await record(database, "schedule.changed", name, **settings.model_dump())
        (schedule,) = await repository.find_schedules(database, name)
        return schedule
