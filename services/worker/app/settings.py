"""The worker's settings."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from contracts.network import RESULT_DB
from contracts.settings import RedisUrl, Settings, load


class WorkerSettings(Settings):
    """What the worker reads besides the shared settings."""

    celery_result_backend: RedisUrl | None = None
    """Where `celery-task-meta-<task_id>` is kept; the broker's server with database 1 unless it is set."""
    worker_concurrency: int = Field(default=2, ge=1)
    """Child processes of one worker; set explicitly, since a container's CPU quota does not change nproc."""
    task_soft_time_limit: float = Field(default=25, gt=0)
    """Seconds after which a task is told to end; it counts as a transient failure."""
    task_time_limit: float = Field(default=30, gt=0)
    """Seconds after which a task's process is killed."""
    circuit_threshold: int = Field(default=5, ge=1)
    """Failures of a provider in a row, by any worker, after which its jobs wait."""
    circuit_pause_seconds: float = Field(default=30, gt=0)
    """How long they wait before one of them tries the provider again."""
    beat_directory: Path | None = None
    """Where the worker leaves its signs of life for a probe, which its image sets; nowhere unless it is set."""

    @property
    def result_backend(self) -> str:
        """The result backend's URL, derived from the broker's where it is not set."""
        if self.celery_result_backend is not None:
            return self.celery_result_backend
        return urlsplit(self.celery_broker_url)._replace(path=f"/{RESULT_DB}").geturl()


settings = load(WorkerSettings)
