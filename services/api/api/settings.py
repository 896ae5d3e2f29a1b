"""The API's settings."""

from pydantic import Field

from contracts.settings import Settings


class ApiSettings(Settings):
    """What the API reads besides the shared settings."""

    database_pool_size: int = Field(default=10, ge=2)
    """Connections that one API process holds at most."""
    dispatch_poll_seconds: float = Field(default=1, gt=0)
    """How often the dispatcher looks for due jobs that nobody woke it for."""
    dispatch_batch: int = Field(default=200, ge=1)
    """Jobs marked and published at a time."""
    queue_bound: int = Field(default=1000, ge=1)
    """Messages that may wait in one queue's Redis list; further due jobs wait in the ledger."""
    refused_retry_seconds: float = Field(default=30, gt=0)
    """How soon a job is offered again that only a newer worker can run."""
    refused_patience_seconds: float = Field(default=86_400, gt=0)
    """For how long it is offered, before it is dead."""
    reenrich_after_seconds: float = Field(default=5, ge=0, le=3600)
    """How long a changed text is left alone before it is enriched again: several changes in a row give one run."""
    retrain_after: int = Field(default=25, ge=0)
    """Newly confirmed issues of a project after which its models are learned anew; 0: only when asked."""
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024)
    """The longest description is 64 Ki characters, up to 12 bytes each as JSON escapes."""
