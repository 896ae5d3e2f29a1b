"""The autoscaler's settings."""

from pydantic import Field

from contracts.settings import Settings


class AutoscalerSettings(Settings):
    """Settings of the autoscaler, in addition to the shared ones."""

    worker_concurrency: int = Field(default=2, ge=1, description="Processes of one worker.")
    autoscaler_pods: int = Field(
        default=10, ge=1, description="Maximum pods of each queue's workers (Kubernetes)."
    )
