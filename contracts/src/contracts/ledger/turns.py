"""Select the due jobs to publish next: the most urgent class first, evenly across projects.

A lane is the waiting jobs of a queue with the same priority class, project and task, oldest first. For each slot:

1. Every `RESERVED`th slot belongs to the lowest waiting class, the others to the most urgent one. A lane rises
   by one class per `AGING_S` that its oldest job has waited.
2. Within the class, the project with the fewest turns is next; within the project, the lane with the fewest.

The turns are stored in this process. Each dispatcher is fair by itself, so all of them together are.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from math import inf

AGING_S = 3600
"""Seconds of waiting after which a job counts as one class more urgent."""
RESERVED = 20
"""One of this number of slots belongs to the lowest waiting class."""
STORED_MAX = 20_000
"""Stored turns, by project and lane, above which those in the past are forgotten."""


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
        return max(0, self.priority_class - int(self.waited_s // AGING_S))


@dataclass(frozen=True, slots=True)
class Share:
    """The number of jobs of a lane to claim."""

    lane: Lane
    count: int


class _Ranking:
    """Counts turns by key, as start-time fair queueing does: a key gets no turns for the time of its absence."""

    def __init__(self) -> None:
        self._next: dict[Hashable, float] = {}
        self._now = 0.0

    def start(self, key: Hashable) -> float:
        """Return the start of the key's next turn. The key with the earliest start is next."""
        return max(self._next.get(key, 0), self._now)

    def take(self, key: Hashable, cost: float = 1) -> None:
        """Count a turn of the key."""
        self._now = self.start(key)
        self._next[key] = self._now + cost
        if len(self._next) > STORED_MAX:
            self._next = {each: start for each, start in self._next.items() if start > self._now}

    def refund(self, key: Hashable, cost: float) -> None:
        """Discount turns that the key did not use."""
        self._next[key] = self._next.get(key, 0) - cost


class Turns:
    """The turns of the lanes of one queue, in one dispatcher."""

    def __init__(self) -> None:
        self._slots = 0
        self.projects = _Ranking()
        self.lanes = _Ranking()
        self.weights: Mapping[str, int] = {}
        """Weights by project, 1 if missing."""

    def cost(self, project: str) -> float:
        """Return the cost of a turn of the project, 1 for weight 1."""
        return 1 / self.weights.get(project, 1)

    def take_slot(self) -> bool:
        """Count a slot; return whether it is reserved for the lowest class."""
        self._slots += 1
        return self._slots % RESERVED == 0


class Round:
    """Distributes slots among the lanes of one search."""

    def __init__(self, turns: Turns, lanes: Iterable[Lane]) -> None:
        self._turns = turns
        self._room: dict[str, float] = defaultdict(lambda: inf)
        """Further jobs that each project may have."""
        self._exhausted: set[Lane] = set()
        self._by_class: dict[int, list[Lane]] = {}
        self._by_effective_class: dict[int, list[Lane]] = {}
        # Of lanes with the same number of turns, the one that has waited longest is first.
        for lane in sorted(lanes, key=lambda lane: -lane.waited_s):
            self._by_class.setdefault(lane.priority_class, []).append(lane)
            self._by_effective_class.setdefault(lane.effective_class, []).append(lane)
        self._groups: dict[tuple[bool, int], _Group] = {}

    def limit(self, room: dict[str, float]) -> None:
        """Limit the further jobs of projects; `room` contains every project, by default or explicitly."""
        self._room = room

    @property
    def is_limited(self) -> bool:
        """Whether a limit has kept a project from further jobs."""
        return any(room < 1 for room in self._room.values())

    def take(self, slots: int) -> list[Share]:
        """Return how many jobs of which lane to claim for that number of slots; an empty list if none is left.

        A lane may contain fewer jobs than its share: then call `return_unused`, and take again.
        """
        shares: Counter[Lane] = Counter()
        for _ in range(slots):
            lane = self._take_one(is_reserved=self._turns.take_slot())
            if lane is None:
                break
            shares[lane] += 1
        return [Share(lane, count) for lane, count in shares.items()]

    def return_unused(self, lane: Lane, count: int) -> None:
        """Discount turns of a lane that contains no further jobs, and pass it over from now on."""
        self._exhausted.add(lane)
        self._turns.projects.refund(lane.project, count * self._turns.cost(lane.project))
        self._turns.lanes.refund(lane.key, count)

    def _take_one(self, *, is_reserved: bool) -> Lane | None:
        levels = self._by_class if is_reserved else self._by_effective_class
        while levels:
            level = max(levels) if is_reserved else min(levels)
            group = self._groups.get((is_reserved, level))
            if group is None:
                group = self._groups[is_reserved, level] = _Group(self._turns, levels[level])
            lane = group.take(self._room, self._exhausted)
            if lane is not None:
                return lane
            del levels[level]
        return None


class _Group:
    """Lanes that take turns: projects first, then the lanes of the project."""

    def __init__(self, turns: Turns, lanes: Sequence[Lane]) -> None:
        self._turns = turns
        self._of: dict[str, list[Lane]] = {}
        for lane in lanes:
            self._of.setdefault(lane.project, []).append(lane)
        self._heap = [(turns.projects.start(project), place, project) for place, project in enumerate(self._of)]
        heapify(self._heap)

    def take(self, room: dict[str, float], exhausted: set[Lane]) -> Lane | None:
        """Take the next turn; return its lane, or None if no project has jobs and room."""
        projects, lanes = self._turns.projects, self._turns.lanes
        while self._heap:
            start, place, project = self._heap[0]
            if (now := projects.start(project)) > start:
                heapreplace(self._heap, (now, place, project))  # it has taken a turn since
                continue
            left = [lane for lane in self._of[project] if lane not in exhausted]
            if not left or room[project] < 1:
                heappop(self._heap)
                continue
            lane = min(left, key=lambda lane: lanes.start(lane.key))
            projects.take(project, self._turns.cost(project))
            lanes.take(lane.key)
            room[project] -= 1
            return lane
        return None
