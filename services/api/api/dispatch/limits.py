"""The projects that are at their limit of published and running jobs, so that their further jobs wait."""

import time
from collections.abc import Iterable

RECENT_S = 2.0
"""Time for which a project counts as at its limit. Between two of its jobs, it is below for up to 0.1 s."""


class RecentLimits:
    """The projects that the dispatcher of this process has found at their limit recently."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def add(self, projects: Iterable[str]) -> None:
        """Store that the projects are at their limit now."""
        self._until.update(dict.fromkeys(projects, time.monotonic() + RECENT_S))

    def find(self) -> set[str]:
        """Return the projects that were at their limit within the last `RECENT_S`."""
        now = time.monotonic()
        self._until = {project: until for project, until in self._until.items() if until > now}
        return set(self._until)
