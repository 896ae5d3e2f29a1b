"""What the queues endpoint answers, and a status of the event stream holds."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.queues.repository import COUNTED_MAX, RECENT

_COUNTED = "Counted to `counted_max`"

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
    """A queue: its jobs by the ledger, its messages and workers by Redis."""

    name: str
    messages: int | None = Field(description="Those that wait in Redis; null while that is unreachable")
    waiting: int = Field(description=f"Jobs that have not begun, published or not. {_COUNTED} in each place")
    running: int
    retrying: int = Field(description=f"Jobs that wait for the time of their next attempt. {_COUNTED}")
    next_retry_s: float | None = Field(description="Seconds until the first of them is due")
    dead: int = Field(description=f"Jobs that wait for a person. {_COUNTED}")
    oldest_due_s: float | None = Field(description="For how long the oldest job that is due has not begun")
    consumers: int | None = Field(
        description="Workers that said within 10 seconds that they consume it; null while Redis is unreachable"
    )
    processes: int | None = Field(description="Processes of these workers: so many jobs run at once")


class CircuitState(BaseModel):
    """A task whose jobs wait for its provider."""

    task: str
    provider: str
    error: str = Field(description="The provider's last")
    open_until: datetime = Field(description="When one job tries it again")


class Recent(BaseModel):
    """The newest enrichments."""

    issues: int = Field(description=f"First runs among the newest {RECENT}: those that are measured")
    p95_s: float | None = Field(description="Seconds from POST to enriched, of 95 in 100 of them at most")
    provider: str | None = Field(description="Who made the newest")


class QueuesState(BaseModel):
    """All queues. That Redis is away is an answer too: issues are accepted, and their enrichment waits."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    broker: Literal["ok", "unreachable"]
    unacknowledged: int | None = Field(
        description="Messages that workers hold, of all queues; null while Redis is unreachable"
    )
    queues: list[QueueState]
    dead_messages: int = Field(description=f"Messages that are no job and wait for a person. {_COUNTED}")
    counted_max: int = Field(description="A number from here on means: at least so many")
    retries_max: int = Field(description="How often a job is tried again")
    circuits: list[CircuitState]
    recent: Recent
