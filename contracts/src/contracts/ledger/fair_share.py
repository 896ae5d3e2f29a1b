"""Select the due jobs to publish next: the most urgent class first, evenly across projects.

A lane is the waiting jobs of a queue with the same priority class, project and task, oldest first. For each slot:

1. Of `RESERVED` slots, one belongs to the lowest waiting class, one to the class between the lowest and the most
   urgent one whose oldest job has waited longest, and the others to the most urgent one. A lane rises by one class
   per `AGING_S` that its oldest job has waited, up to high: critical jobs stay first.
2. Within the class, the project with the fewest jobs by weight is next. Within the project, the lane with the
   fewest jobs is next.

The numbers are stored in this process. Each dispatcher is fair by itself, so all of them together are.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from math import inf

from contracts.ledger.classes import PriorityClass

AGING_S = 3600
"""Seconds of waiting after which a job counts as one class more urgent."""
RESERVED = 20
"""One of this number of slots belongs to the lowest waiting class, and one to the classes between."""
_FOR_LOWEST, _FOR_BETWEEN = 0, RESERVED // 2
STORED_MIN = 20_000
"""Stored start times, by project or lane, that are never too many. More are pruned whenever they have doubled."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Waiting jobs of a queue with the same class, project and task, at least one of which is due."""

    priority_class: int
    project: str
    task: str
    waited_s: float
    """Seconds that its oldest job has waited."""

    @property
    def key(self) -> tuple[int, str, str]:
        """Identify the lane within its queue."""
        return self.priority_class, self.project, self.task

    @property
    def effective_class(self) -> int:
        """The class of its oldest job, which waiting has raised."""
        aged = self.priority_class - int(self.waited_s // AGING_S)
        return min(self.priority_class, max(PriorityClass.HIGH, aged))


@dataclass(frozen=True, slots=True)
class Allocation:
    """The number of jobs of a lane to claim."""

    lane: Lane
    count: int


class _VirtualClock:
    """The start times of start-time fair queueing, by key: a key saves no time while it is absent."""

    def __init__(self) -> None:
        self._next: dict[Hashable, float] = {}
        self._now = 0.0
        self._prune_above = STORED_MIN

    def start(self, key: Hashable) -> float:
        """Return the start time of the key's next job. The key with the earliest start is next."""
        return max(self._next.get(key, 0), self._now)

    def charge(self, key: Hashable, cost: float = 1) -> None:
        """Delay the key's next start by the cost of a job."""
        self._now = self.start(key)
        self._next[key] = self._now + cost
        if len(self._next) > self._prune_above:
            self._next = {each: start for each, start in self._next.items() if start > self._now}
            self._prune_above = max(STORED_MIN, 2 * len(self._next))

    def refund(self, key: Hashable, cost: float) -> None:
        """Subtract the cost of jobs that the key did not have."""
        self._next[key] = self._next.get(key, 0) - cost


class FairShare:
    """The virtual clocks of the lanes of one queue, in one dispatcher."""

    def __init__(self) -> None:
        self._slots = 0
        self.projects = _VirtualClock()
        self.lanes = _VirtualClock()
        self.weights: Mapping[str, int] = {}
        """Weights by project, 1 if missing."""

    def cost(self, project: str) -> float:
        """Return the cost of a job of the project, 1 for weight 1."""
        return 1 / self.weights.get(project, 1)

    def count_slot(self) -> int:
        """Count a slot; return its number among `RESERVED` slots."""
        self._slots += 1
        return self._slots % RESERVED


class Selection:
    """Distributes slots among the lanes of one search."""

    def __init__(self, fair_share: FairShare, lanes: Iterable[Lane]) -> None:
        self._fair_share = fair_share
        self._room: dict[str, float] = defaultdict(lambda: inf)
        """Further jobs that each project may have."""
        self._exhausted: set[Lane] = set()
        # Of lanes with the same start time, the one that has waited longest is first.
        self._lanes = sorted(lanes, key=lambda lane: -lane.waited_s)
        self._group_lanes()

    @property
    def is_empty(self) -> bool:
        """Whether the search found no lane with due jobs."""
        return not self._lanes

    def _group_lanes(self) -> None:
        self._by_class: dict[int, list[Lane]] = {}
        self._by_effective_class: dict[int, list[Lane]] = {}
        for lane in self._lanes:
            self._by_class.setdefault(lane.priority_class, []).append(lane)
            self._by_effective_class.setdefault(lane.effective_class, []).append(lane)
        self._groups: dict[tuple[bool, int], _Group] = {}

    def limit(self, room: dict[str, float]) -> None:
        """Limit the further jobs of projects; `room` contains every project, by default or explicitly."""
        if self.at_limit:
            self._group_lanes()  # the groups have dropped these projects, which may have room again
        self._room = room

    @property
    def at_limit(self) -> list[str]:
        """The projects that may have no further jobs."""
        return [project for project, room in self._room.items() if room < 1]

    def select(self, slots: int) -> list[Allocation]:
        """Return how many jobs of which lane to claim for that number of slots; an empty list if none is left.

        A lane may contain fewer jobs than allocated: then call `refund_unused`, and select again.
        """
        counts: Counter[Lane] = Counter()
        for _ in range(slots):
            lane = self._select_one(self._fair_share.count_slot())
            if lane is None:
                break
            counts[lane] += 1
        return [Allocation(lane, count) for lane, count in counts.items()]

    def refund_unused(self, lane: Lane, count: int) -> None:
        """Refund the jobs that a lane did not have, and skip the lane from now on."""
        self._exhausted.add(lane)
        self._room[lane.project] += count
        self._fair_share.projects.refund(lane.project, count * self._fair_share.cost(lane.project))
        self._fair_share.lanes.refund(lane.key, count)

    def _select_one(self, slot: int) -> Lane | None:
        is_reserved = slot == _FOR_LOWEST or (slot == _FOR_BETWEEN and len(self._by_class) > 2)
        levels = self._by_class if is_reserved else self._by_effective_class
        while levels:
            between = sorted(levels)[1:-1]
            if slot == _FOR_LOWEST:
                level = max(levels)
            elif slot == _FOR_BETWEEN and is_reserved and between:
                level = max(between, key=lambda level: levels[level][0].waited_s)
            else:
                level = min(levels)
            group = self._groups.get((is_reserved, level))
            if group is None:
                group = self._groups[is_reserved, level] = _Group(self._fair_share, levels[level])
            lane = group.select(self._room, self._exhausted)
            if lane is not None:
                return lane
            del levels[level]
        return None


class _Group:
    """The lanes of one class, selected by project first, then within the project."""

    def __init__(self, fair_share: FairShare, lanes: Sequence[Lane]) -> None:
        self._fair_share = fair_share
        self._of: dict[str, list[Lane]] = {}
        for lane in lanes:
            self._of.setdefault(lane.project, []).append(lane)
        self._heap = [
            (fair_share.projects.start(project), place, project) for place, project in enumerate(self._of)
        ]
        heapify(self._heap)

    def select(self, room: dict[str, float], exhausted: set[Lane]) -> Lane | None:
        """Return the lane of the next job, or None if no project has jobs and room."""
        projects, lanes = self._fair_share.projects, self._fair_share.lanes
        while self._heap:
            start, place, project = self._heap[0]
            if (now := projects.start(project)) > start:
                heapreplace(self._heap, (now, place, project))  # it has been charged since
                continue
            left = [lane for lane in self._of[project] if lane not in exhausted]
            if not left or room[project] < 1:
                heappop(self._heap)
                continue
            lane = min(left, key=lambda lane: lanes.start(lane.key))
            projects.charge(project, self._fair_share.cost(project))
            lanes.charge(lane.key)
            room[project] -= 1
            return lane
        return None
