"""How many jobs a batch may have, by the measured duration of jobs."""

from app.ledger.child import BATCH_MAX

SLICE_S = 1.0
"""Time in which a batch starts its jobs. Other jobs of the queue wait for it."""
_FIRST_S = SLICE_S / 8
"""The assumed duration of a job before the first measurement."""
_WEIGHT = 0.2
"""The weight of the last job in the mean."""


class BatchSize:
    """The moving mean of the durations of a task's jobs in this process."""

    slice_s = SLICE_S
    """Time in which a batch of the task starts its jobs, in seconds."""

    def __init__(self) -> None:
        self._mean_s = _FIRST_S

    def record(self, seconds: float) -> None:
        """Record the duration of a job."""
        self._mean_s += _WEIGHT * (seconds - self._mean_s)

    @property
    def followers_max(self) -> int:
        """The number of jobs that fit into the time slice besides the lead."""
        return int(self.slice_s / max(self._mean_s, self.slice_s / BATCH_MAX)) - 1
