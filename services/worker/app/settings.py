"""The worker's settings."""

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

    @property
    def result_backend(self) -> str:
        """The result backend's URL, derived from the broker's where it is not set."""
        if self.celery_result_backend is not None:
            return self.celery_result_backend
        server, _, _database = self.celery_broker_url.rpartition("/")
        return f"{server}/{RESULT_DB}"


settings = load(WorkerSettings)
