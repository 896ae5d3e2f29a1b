"""What the diagnosis answers: states as they are, without a verdict."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from contracts.messages import WorkerHeartbeat


class DatabaseState(BaseModel):
    """PostgreSQL itself."""

    version: str
    is_replica: bool
    clock_ahead_s: float = Field(description="Its clock less the API's, in seconds")
    connections: int
    connections_max: int
    size_bytes: int


class MigrationsState(BaseModel):
    """Where the schema is, and where this API wants it."""

    current: str | None = Field(description="Null before the first migration")
    head: str
    is_newer: bool = Field(description="Whether a newer version has migrated, which this one works on")


class JobsState(BaseModel):
    """What the ledger holds that is not done."""

    unfinished: dict[str, int] = Field(description="Jobs by state")
    oldest_due_s: dict[str, float] = Field(
        description="By queue, for how long its oldest due job has waited to be run"
    )
    dead_jobs: int
    dead_messages: int
    open_circuits: dict[str, str] = Field(description="Tasks that wait for their provider, and its last error")
    contract_versions: dict[str, int] = Field(description="Jobs that wait, by their messages' contract version")


class BrokerState(BaseModel):
    """Redis, or what speaks its protocol."""

    version: str
    is_replica: bool
    clock_ahead_s: float = Field(description="Its clock less the API's, in seconds")
    used_bytes: int
    max_bytes: int = Field(description="0 where it has no bound")
    eviction_policy: str
    append_only: bool = Field(description="Whether it keeps its append-only file")
    is_writing: bool = Field(description="False when its last write to that file failed")
    messages: dict[str, int] = Field(description="By queue, those that wait")
    unacknowledged: int = Field(description="Messages that workers hold")


class WorkerState(WorkerHeartbeat):
    """A worker that has said lately that it consumes."""

    clock_ahead_s: float = Field(description="Its clock less the API's, in seconds")


class Diagnosis(BaseModel):
    """Each part on its own: one that cannot be seen is null, and `errors` says why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": "0.1.0",
                    "contract_version": "1.1.0",
                    "checked_at": "2026-11-24T11:00:00Z",
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
                        "dead_jobs": 0,
                        "dead_messages": 0,
                        "open_circuits": {},
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
    database: DatabaseState | None
    migrations: MigrationsState | None
    jobs: JobsState | None
    broker: BrokerState | None
    workers: list[WorkerState] | None
    errors: dict[str, str]
