"""How many pods one queue needs."""

from math import ceil

POD_MIN = 1
SCALE_DOWN_AFTER_S = 300
"""A pod is removed only if no count within this time needed it."""
SCALE_DOWN_INTERVAL_S = 60
"""Seconds between two removed pods."""


class PodCount:
    """Decides the number of pods: more at once, and fewer one by one.

    `per_pod` is the number of jobs that one pod runs at a time. A new instance removes no pod until it has watched
    the jobs for `SCALE_DOWN_AFTER_S`.
    """

    def __init__(self, per_pod: int, pod_max: int, now: float) -> None:
        self._per_pod = per_pod
        self._pod_max = pod_max
        self._started_at = self._reduced_at = now
        self._needs: list[tuple[float, int]] = []

    def decide(self, current: int, jobs: int, now: float) -> int:
        """Return the number of pods for `jobs` due and running jobs. `now` is monotonic, in seconds.

        No pods means that an operator has stopped the queue, which stays stopped.
        """
        needed = min(max(ceil(jobs / self._per_pod), POD_MIN), self._pod_max)
        self._needs = [(at, number) for at, number in self._needs if now - at < SCALE_DOWN_AFTER_S]
        self._needs.append((now, needed))
        if current == 0:
            return 0
        if needed >= current:
            return needed
        is_watched = now - self._started_at >= SCALE_DOWN_AFTER_S
        is_next = now - self._reduced_at >= SCALE_DOWN_INTERVAL_S
        if not is_watched or not is_next or max(number for _, number in self._needs) >= current:
            return current
        self._reduced_at = now
        return current - 1
