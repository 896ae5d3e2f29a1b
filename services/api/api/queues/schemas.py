"""Response models of the queues endpoint, which `status` events carry too."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
            "consumers": 1,
            "processes": 2,
        }
    ],
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
    consumers: int | None = Field(
        description="Workers that consume it, with a heartbeat within 10 seconds; null while Redis is unreachable"
    )
    processes: int | None = Field(
        description="Processes of these workers: the number of jobs that can run at once"
    )


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
    dead_messages: int = Field(description=f"Dead messages that await a decision. {_COUNTED}")
    counted_max: int = Field(description="Counts of this value mean: this many or more")
    retries_max: int = Field(description="Number of retries of a job")
    circuits: list[CircuitState]
    recent: Recent
