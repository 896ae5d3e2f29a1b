"""The order in which jobs are published: urgent first, in turns between projects, and none starves."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf

import pytest

from contracts.ledger.classes import PriorityClass
from contracts.ledger.turns import AGING_S, RESERVED, Lane, Round, Turns

A, B, C = "a", "b", "c"


def lane(project: str, priority_class: PriorityClass = PriorityClass.MEDIUM, waited_s: float = 1) -> Lane:
    return Lane(priority_class, project, "a.task", waited_s)


def publish(turns: Turns, lanes: Sequence[Lane], slots: int, by: Callable[[Lane], object]) -> Counter[object]:
    """Publish jobs one slot at a time, as for a worker with one process; count them."""
    found: Counter[object] = Counter()
    for _ in range(slots):
        for share in Round(turns, lanes).take(1):
            found[by(share.lane)] += share.count
    return found


@pytest.mark.parametrize("waited_s", [1, 1000])
def test_projects_that_flood_get_equal_turns(waited_s: float) -> None:
    """Also if one of them has waited longer."""
    found = publish(Turns(), [lane(A, waited_s=waited_s), lane(B)], 100, lambda lane: lane.project)

    assert found == {A: 50, B: 50}


def test_project_that_returns_gets_no_turns_for_its_absence() -> None:
    turns = Turns()
    publish(turns, [lane(A)], 1000, lambda lane: lane.project)

    assert publish(turns, [lane(A), lane(B)], 100, lambda lane: lane.project) == {A: 50, B: 50}


def test_unused_turns_are_refunded() -> None:
    turns = Turns()
    for _ in range(100):
        current = Round(turns, [lane(A)])
        (share,) = current.take(8)
        current.return_unused(share.lane, 7)
        assert current.take(1) == []

    shares = Round(turns, [lane(A), lane(B)]).take(9)
    assert sorted(share.count for share in shares) == [4, 5]


def test_urgent_class_is_published_first_except_reserved_share() -> None:
    lanes = [lane(A, PriorityClass.BACKGROUND, 100), lane(B, PriorityClass.LOW), lane(C, PriorityClass.CRITICAL)]
    found = publish(Turns(), lanes, 10 * RESERVED, lambda lane: lane.priority_class)

    assert found == {PriorityClass.CRITICAL: 10 * (RESERVED - 1), PriorityClass.BACKGROUND: 10}


def test_waiting_raises_class() -> None:
    lanes = [
        lane(A, PriorityClass.MEDIUM, 2 * AGING_S),
        lane(B, PriorityClass.CRITICAL),
        lane(C, PriorityClass.LOW),
    ]
    found = publish(Turns(), lanes, 2 * (RESERVED - 1), lambda lane: lane.project)

    assert found[A] == pytest.approx(found[B], abs=1)


def test_fresh_critical_job_waits_for_at_most_one_aged_job_of_its_project() -> None:
    turns = Turns()
    aged = lane(A, PriorityClass.BACKGROUND, 10 * AGING_S)
    publish(turns, [aged], 1000, lambda lane: lane.key)

    assert publish(turns, [aged, lane(A, PriorityClass.CRITICAL)], 2, lambda lane: lane.priority_class)[0] == 1


def limited(turns: Turns, lanes: Sequence[Lane], slots: int, room: dict[str, float]) -> dict[str, int]:
    current = Round(turns, lanes)
    current.limit(room)
    return {share.lane.project: share.count for share in current.take(slots)}


def test_project_without_room_is_passed_over() -> None:
    assert limited(Turns(), [lane(A, PriorityClass.CRITICAL), lane(B)], 4, {A: 0, B: inf}) == {B: 4}
    assert limited(Turns(), [lane(A), lane(B)], 10, {A: 2, B: inf}) == {A: 2, B: 8}


def test_project_with_weight_gets_more_turns() -> None:
    turns = Turns()
    turns.weights = {A: 3}

    assert publish(turns, [lane(A), lane(B)], 100, lambda lane: lane.project) == {A: 75, B: 25}
