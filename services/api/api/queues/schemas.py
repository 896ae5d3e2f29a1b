"""Response models of the queues endpoint, which `status` events carry too."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.issues.schemas import Project
from api.pauses.schemas import EXAMPLE as PAUSE
from api.pauses.schemas import Pause
from api.queues.repository import RECENT
from contracts.ledger.queries import COUNTED_MAX

_COUNTED = "Counted up to `counted_max`"

EXAMPLE: dict[str, Any] = {
    "broker": "ok",
    "unacknowledged": 2,
    "queues": [
        {
            "name": "issues",
            "messages": 38,
            "waiting": 40,
            "running": 2,
            "retrying": 3,
            "next_retry_s": 41.5,
            "dead": 1,
            "oldest_due_s": 2.4,
            "oldest_foreground_s": 2.4,
            "consumers": 1,
            "processes": 2,
        }
    ],
    "classes": [
        {"name": "critical", "waiting": 0},
        {"name": "high", "waiting": 2},
        {"name": "medium", "waiting": 8},
        {"name": "low", "waiting": 0},
        {"name": "background", "waiting": 30},
    ],
    "projects": [{"name": "shop", "waiting": 31}, {"name": "default", "waiting": 9}],
    "dead_messages": 0,
    "counted_max": COUNTED_MAX,
    "retries_max": 3,
    "circuits": [
        {
            "task": "app.tasks.issues.enrich_issue",
            "provider": "openai",
            "error": "ProviderError: status 503",
            "open_until": "2026-11-24T11:00:30Z",
        }
    ],
    "pauses": [PAUSE],
    "recent": {"issues": 200, "p95_s": 0.41, "provider": "local"},
}


class QueueState(BaseModel):
    """A queue: its jobs come from the ledger, its messages and workers from Redis."""

    name: str
    messages: int | None = Field(description="Messages waiting in Redis; null while Redis is unreachable")
    waiting: int = Field(description=f"Due jobs that have not started, published and unpublished each. {_COUNTED}")
    running: int
    retrying: int = Field(description=f"Jobs that wait for their next attempt. {_COUNTED}")
    next_retry_s: float | None = Field(description="Seconds until the first of these attempts")
    dead: int = Field(description=f"Dead jobs that await a decision. {_COUNTED}")
    oldest_due_s: float | None = Field(description="Seconds that the oldest due job has waited")
    oldest_foreground_s: float | None = Field(
        description="Seconds that the oldest due job above class background has waited, without paused jobs and"
        " projects at their limit; at most ten seconds old"
    )
    consumers: int | None = Field(
        description="Workers that consume it, with a heartbeat within 10 seconds; null while Redis is unreachable"
    )
    processes: int | None = Field(
        description="Processes of these workers: the number of jobs that can run at once"
    )


class ProjectShare(BaseModel):
    """The share of a project in the workers."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"project": "shop", "weight": 2, "running_max": 4}]}
    )

    project: Project
    weight: int = Field(default=1, ge=1, le=100, description="Jobs for each job of a project with weight 1")
    running_max: int | None = Field(
        default=None, ge=1, le=10_000, description="Maximum published and running jobs; null: no limit of its own"
    )


class ProjectShares(BaseModel):
    """The projects that have a weight or a limit of their own."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"project": "shop", "weight": 2, "running_max": 4}]}]}
    )

    items: list[ProjectShare]


class WaitingJobs(BaseModel):
    """The due jobs of a priority class or a project that are not published."""

    name: str
    waiting: int


class CircuitState(BaseModel):
    """A task whose circuit breaker is open."""

    task: str
    provider: str
    error: str = Field(description="Last error of the provider")
    open_until: datetime = Field(description="Time when one job tries the provider again")


class Recent(BaseModel):
    """Latency of recent enrichments."""

    issues: int = Field(
        description=f"Number of first runs among the newest {RECENT} runs; only these are measured"
    )
    p95_s: float | None = Field(description="95th percentile of the seconds from POST to enriched")
    provider: str | None = Field(description="Provider of the newest result")


class QueuesState(BaseModel):
    """State of all queues. While Redis is unreachable, issues are accepted and their enrichment waits."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    broker: Literal["ok", "unreachable"]
    unacknowledged: int | None = Field(
        description="Unacknowledged messages of all queues; null while Redis is unreachable"
    )
    queues: list[QueueState]
    classes: list[WaitingJobs] = Field(
        description=f"Unpublished due jobs by priority class, most urgent first. {_COUNTED} in each queue"
    )
    projects: list[WaitingJobs] = Field(
        description="The ten projects with the most unpublished due jobs, at most ten seconds old"
    )
    dead_messages: int = Field(description=f"Dead messages that await a decision. {_COUNTED}")
    counted_max: int = Field(description="Counts of this value mean: this many or more")
    retries_max: int = Field(description="Number of retries of a job")
    circuits: list[CircuitState]
    pauses: list[Pause]
    recent: Recent
