"""Request and response models of the schedule endpoints."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool

from api.schedules.cron import FIELDS, check_cron, check_time_zone
from contracts.names import ScheduleName, Task
from contracts.states import JobState
from contracts.validation import format_value

EXAMPLE: dict[str, Any] = {
    "name": "prune",
    "task": Task.PRUNE,
    "cron": "0 3 * * *",
    "time_zone": "Europe/Berlin",
    "enabled": True,
    "next_run_at": "2026-11-25T02:00:00Z",
    "last_run_at": "2026-11-24T02:00:00.412345Z",
    "last_job_id": "01a20614-800e-771f-862f-526a86f415ac",
    "last_job_state": "succeeded",
}


def _validator(check: Callable[[str], None]) -> AfterValidator:
    """Return a validator whose error names the value and the rule that `check` raises."""

    def validate(value: str) -> str:
        try:
            check(value)
        except ValueError as error:
            raise ValueError(f"{format_value(value)} is not valid. {error}.") from None
        return value

    return AfterValidator(validate)


class ScheduleSettings(BaseModel):
    """When a schedule runs. A missing time zone is UTC."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"cron": "0 3 * * *", "time_zone": "Europe/Berlin"}]}
    )

    cron: Annotated[str, Field(max_length=100), _validator(check_cron)] = Field(
        description=f"Cron expression: {FIELDS}"
    )
    time_zone: Annotated[str, Field(max_length=100), _validator(check_time_zone)] = Field(
        default="UTC", description="Name of the IANA time zone of the expression"
    )
    enabled: StrictBool = True


class Schedule(BaseModel):
    """A schedule and its runs."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    name: ScheduleName
    task: Task = Field(description="The task of its jobs")
    cron: str
    time_zone: str
    enabled: bool
    next_run_at: datetime | None = Field(description="Null if it is disabled. In the past if it is overdue")
    last_run_at: datetime | None
    last_job_id: UUID | None = Field(
        description="The last job that it created. A run creates no job while that one is unfinished"
    )
    last_job_state: JobState | None


class Schedules(BaseModel):
    """All schedules, by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [EXAMPLE]}]})

    items: list[Schedule]
