"""Selects the jobs that join a batch, in the order of the fair share.

As each dispatcher is fair by itself, so is each process of a worker. The pauses apply. A project with a limit of
running jobs has no followers, because all jobs of a batch count as running.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from app.settings import settings
from contracts import CONTRACT_VERSION
from contracts.ledger.batches import CLAIM_FOLLOWERS
from contracts.ledger.classes import PriorityClass
from contracts.ledger.dispatch import FIND_LANES
from contracts.ledger.fair_share import Allocation, FairShare, Lane, Selection
from contracts.ledger.shares import FIND_SHARES

ROUNDS_MAX = 3
"""Maximum claims of one batch. A lane may contain fewer jobs than selected."""
_FIRST = ("", "")
_MAJOR = CONTRACT_VERSION.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Follower:
    """A job that was claimed for a batch, in its first attempt."""

    job_id: UUID
    message: dict[str, Any]
    waited_s: float
    """Seconds since the job was due."""


class Followers:
    """Claims followers of one task and queue for this process."""

    def __init__(self, queue: str, task: str) -> None:
        self._queue = queue
        self._task = task
        self._fair_share = FairShare()
        self._last: dict[int, tuple[str, str]] = dict.fromkeys(PriorityClass, _FIRST)

    def claim(
        self, engine: Engine, count: int, holder: str, lease: timedelta, enter: Callable[[Sequence[UUID]], None]
    ) -> list[Follower]:
        """Claim at most `count` due jobs. `enter` is called with their ids before the claim is committed."""
        found: list[Follower] = []
        with engine.begin() as connection:
            selection = self._search(connection)
            for _ in range(ROUNDS_MAX):
                allocations = selection.select(count - len(found))
                if not allocations:
                    break
                found += self._claim(connection, selection, allocations, holder, lease)
            enter([follower.job_id for follower in found])
        return found

    def _search(self, connection: Connection) -> Selection:
        shares = connection.execute(FIND_SHARES.expression).all()
        self._fair_share.weights = {row.project: row.weight for row in shares}
        limited = {row.project for row in shares if row.running_max is not None}
        last = self._last
        rows = connection.execute(
            FIND_LANES.expression,
            {
                "queue": self._queue,
                "classes": list(last),
                "projects": [project for project, _ in last.values()],
                "tasks": [task for _, task in last.values()],
            },
        ).all()
        self._last = dict.fromkeys(PriorityClass, _FIRST) | {
            row.priority_class: (row.project, row.task) for row in rows if row.is_end
        }
        lanes = [Lane(row.priority_class, row.project, row.task, row.waited_s) for row in rows if row.is_due]
        return Selection(
            self._fair_share,
            [lane for lane in lanes if lane.task == self._task and not self._is_limited(lane.project, limited)],
        )

    @staticmethod
    def _is_limited(project: str, limited: set[str]) -> bool:
        return project != "" and (settings.project_running_max is not None or project in limited)

    def _claim(
        self,
        connection: Connection,
        selection: Selection,
        allocations: Sequence[Allocation],
        holder: str,
        lease: timedelta,
    ) -> list[Follower]:
        rows = connection.execute(
            CLAIM_FOLLOWERS.expression,
            {
                "queue": self._queue,
                "task": self._task,
                "classes": [allocation.lane.priority_class for allocation in allocations],
                "projects": [allocation.lane.project for allocation in allocations],
                "counts": [allocation.count for allocation in allocations],
                "major": _MAJOR,
                "holder": holder,
                "lease": lease,
            },
        ).all()
        places = {
            (allocation.lane.priority_class, allocation.lane.project): place
            for place, allocation in enumerate(allocations)
        }
        found = sorted(rows, key=lambda row: (places[row.priority_class, row.project], row.run_at))
        for allocation in allocations:
            key = allocation.lane.priority_class, allocation.lane.project
            missing = allocation.count - sum((row.priority_class, row.project) == key for row in found)
            if missing:
                selection.refund_unused(allocation.lane, missing)
        return [Follower(row.id, row.message, row.waited_s) for row in found]


@cache
def get_followers(queue: str, task: str) -> Followers:
    """Return the followers of a task and queue for this process."""
    return Followers(queue, task)
