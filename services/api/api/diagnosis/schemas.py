"""Response models of the diagnosis endpoint: measured states, without a verdict."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from api.pauses.schemas import Pause
from contracts.messages import WorkerHeartbeat


class DatabaseState(BaseModel):
    """State of PostgreSQL."""

    version: str
    is_replica: bool
    is_read_only: bool = Field(description="True for a replica, and for `default_transaction_read_only`")
    clock_ahead_s: float = Field(description="Seconds that its clock is ahead of the API's")
    connections: int
    connections_max: int
    size_bytes: int


class MigrationsState(BaseModel):
    """Current schema revision, and the one that this API requires."""

    current: str | None = Field(description="Null before the first migration")
    head: str
    is_newer: bool = Field(
        description="Whether a newer release has migrated the schema; this release works with it"
    )


class JobsState(BaseModel):
    """Unfinished jobs in the ledger."""

    unfinished: dict[str, int] = Field(description="Jobs by state")
    oldest_due_s: dict[str, float] = Field(
        description="Seconds that the oldest due job above class background has waited, by queue. Paused jobs and"
        " jobs of projects at their limit are not included"
    )
    oldest_background_s: dict[str, float] = Field(
        description="Seconds that the oldest due job of class background has waited, by queue"
    )
    dead_jobs: int
    dead_messages: int
    open_circuits: dict[str, str] = Field(
        description="Tasks whose circuit breaker is open, with the provider's last error"
    )
    pauses: list[Pause]
    overdue_schedules_s: dict[str, float] = Field(description="Seconds that overdue schedules have waited")
    missing_schedules: list[str] = Field(description="Schedules whose row was deleted, so that they never run")
    contract_versions: dict[str, int] = Field(description="Waiting jobs by the contract version of their message")


class BrokerState(BaseModel):
    """State of Redis, or of a compatible server."""

    version: str
    is_replica: bool
    clock_ahead_s: float = Field(description="Seconds that its clock is ahead of the API's")
    used_bytes: int
    max_bytes: int = Field(description="0 if unlimited")
    eviction_policy: str
    append_only: bool = Field(description="Whether the append-only file is on")
    is_writing: bool = Field(description="False if the last write to that file failed")
    messages: dict[str, int] = Field(description="Waiting messages by queue")
    unacknowledged: int = Field(description="Messages that workers have received and not acknowledged")


class WorkerState(WorkerHeartbeat):
    """A worker with a recent heartbeat."""

    clock_ahead_s: float = Field(description="Seconds that its clock is ahead of the API's")


class Diagnosis(BaseModel):
    """State of each dependency. One that cannot be reached is null, with the reason in `errors`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": "0.1.0",
                    "contract_version": "1.1.0",
                    "checked_at": "2026-11-24T11:00:00Z",
                    "is_in_kubernetes": False,
                    "ignored_proxy": None,
                    "clear_webhook_secrets": 0,
                    "database": {
                        "version": "17.6",
                        "is_replica": False,
                        "clock_ahead_s": 0.001,
                        "connections": 12,
                        "connections_max": 100,
                        "size_bytes": 12_345_678,
                    },
                    "migrations": {"current": "0010", "head": "0010", "is_newer": False},
                    "jobs": {
                        "unfinished": {"retrying": 2},
                        "oldest_due_s": {"issues": 0.0, "default": 0.0},
                        "oldest_background_s": {},
                        "dead_jobs": 0,
                        "dead_messages": 0,
                        "open_circuits": {},
                        "pauses": [],
                        "overdue_schedules_s": {},
                        "missing_schedules": [],
                        "contract_versions": {"1.1.0": 2},
                    },
                    "broker": None,
                    "workers": None,
                    "errors": {"broker": "ConnectionError: Connection refused"},
                }
            ]
        }
    )

    version: str
    contract_version: str
    checked_at: datetime
    is_in_kubernetes: bool = Field(description="Whether the API runs in a pod")
    ignored_proxy: str | None = Field(
        description="Address of a reverse proxy that FORWARDED_ALLOW_IPS does not list"
    )
    clear_webhook_secrets: int | None = Field(description="Webhooks whose secret is stored in clear text")
    database: DatabaseState | None
    migrations: MigrationsState | None
    jobs: JobsState | None
    broker: BrokerState | None
    workers: list[WorkerState] | None
    errors: dict[str, str]
