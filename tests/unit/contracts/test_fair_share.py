"""The order in which jobs are published: urgent first, evenly across projects, and none starves."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf

import pytest

from contracts.ledger.classes import PriorityClass
from contracts.ledger.fair_share import AGING_S, RESERVED, FairShare, Lane, Selection

A, B, C = "a", "b", "c"


def lane(project: str, priority_class: PriorityClass = PriorityClass.MEDIUM, waited_s: float = 1) -> Lane:
    return Lane(priority_class, project, "a.task", waited_s)


def publish(
    fair_share: FairShare, lanes: Sequence[Lane], slots: int, by: Callable[[Lane], object]
) -> Counter[object]:
    """Publish jobs one slot at a time, as for a worker with one process; count them."""
    found: Counter[object] = Counter()
    for _ in range(slots):
        for allocation in Selection(fair_share, lanes).select(1):
            found[by(allocation.lane)] += allocation.count
    return found


@pytest.mark.parametrize("waited_s", [1, 1000])
def test_projects_that_flood_get_equal_shares(waited_s: float) -> None:
    """Also if one of them has waited longer."""
    found = publish(FairShare(), [lane(A, waited_s=waited_s), lane(B)], 100, lambda lane: lane.project)

    assert found == {A: 50, B: 50}


def test_project_that_returns_gets_no_share_for_its_absence() -> None:
    fair_share = FairShare()
    publish(fair_share, [lane(A)], 1000, lambda lane: lane.project)

    assert publish(fair_share, [lane(A), lane(B)], 100, lambda lane: lane.project) == {A: 50, B: 50}


def test_unused_allocations_are_refunded() -> None:
    fair_share = FairShare()
    for _ in range(100):
        selection = Selection(fair_share, [lane(A)])
        (allocation,) = selection.select(8)
        selection.refund_unused(allocation.lane, 7)
        assert selection.select(1) == []

    allocations = Selection(fair_share, [lane(A), lane(B)]).select(9)
    assert sorted(allocation.count for allocation in allocations) == [4, 5]


def test_urgent_class_is_published_first_except_reserved_share() -> None:
    lanes = [lane(A, PriorityClass.BACKGROUND, 100), lane(B, PriorityClass.LOW), lane(C, PriorityClass.CRITICAL)]
    found = publish(FairShare(), lanes, 10 * RESERVED, lambda lane: lane.priority_class)

    assert found == {
        PriorityClass.CRITICAL: 10 * (RESERVED - 2),
        PriorityClass.LOW: 10,
        PriorityClass.BACKGROUND: 10,
    }


def test_no_class_starves_while_more_urgent_ones_flood() -> None:
    waited = dict.fromkeys(PriorityClass, 0)
    fair_share = FairShare()
    for _ in range(100 * RESERVED):
        lanes = [lane(A, each, waited[each]) for each in PriorityClass]
        (allocation,) = Selection(fair_share, lanes).select(1)
        waited = {
            each: 0 if each == allocation.lane.priority_class else waited[each] + 1 for each in PriorityClass
        }
        assert max(waited.values()) < 10 * RESERVED


def test_project_gets_room_again_in_the_same_selection() -> None:
    selection = Selection(FairShare(), [lane(A, PriorityClass.CRITICAL), lane(B)])
    selection.limit({A: 1, B: inf})
    assert {each.lane.project: each.count for each in selection.select(3)} == {A: 1, B: 2}

    selection.limit({A: 2, B: inf})

    assert {each.lane.project: each.count for each in selection.select(3)} == {A: 2, B: 1}


def test_unused_jobs_leave_room_to_project() -> None:
    selection = Selection(FairShare(), [lane(A)])
    selection.limit({A: 5})
    (allocation,) = selection.select(8)
    selection.refund_unused(allocation.lane, 4)

    assert selection.at_limit == []


def test_waiting_raises_class() -> None:
    lanes = [lane(A, PriorityClass.LOW, 2 * AGING_S), lane(B, PriorityClass.HIGH), lane(C, PriorityClass.LOW)]
    found = publish(FairShare(), lanes, 2 * (RESERVED - 1), lambda lane: lane.project)

    assert found[A] == pytest.approx(found[B], abs=1)


@pytest.mark.parametrize("priority_class", [each for each in PriorityClass if each > PriorityClass.CRITICAL])
def test_waiting_of_many_hours_leaves_critical_first(priority_class: PriorityClass) -> None:
    lanes = [*(lane(f"{n}", priority_class, 100 * AGING_S) for n in range(10)), lane(B, PriorityClass.CRITICAL)]
    found = publish(FairShare(), lanes, 10 * RESERVED, lambda lane: lane.priority_class)

    assert found == {PriorityClass.CRITICAL: 10 * (RESERVED - 1), priority_class: 10}


def test_fresh_critical_job_precedes_aged_jobs_of_its_project() -> None:
    fair_share = FairShare()
    aged = lane(A, PriorityClass.BACKGROUND, 10 * AGING_S)
    publish(fair_share, [aged], 1000, lambda lane: lane.key)

    found = publish(fair_share, [aged, lane(A, PriorityClass.CRITICAL)], 10, lambda lane: lane.priority_class)
    assert found == {PriorityClass.CRITICAL: 10}


def test_many_projects_are_pruned_only_when_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contracts.ledger.fair_share.STORED_MIN", 10)
    clock = FairShare().projects
    copies = [clock._next]
    for project in range(1000):
        clock.charge(project)
        if clock._next is not copies[-1]:
            copies.append(clock._next)
    assert len(copies) < 10
    assert len(clock._next) == 1000

    for _ in range(10):
        clock.charge("another")  # the times of the others are past now
    for project in range(1000, 2000):
        clock.charge(project)
    assert len(clock._next) < 1100


def limited(fair_share: FairShare, lanes: Sequence[Lane], slots: int, room: dict[str, float]) -> dict[str, int]:
    selection = Selection(fair_share, lanes)
    selection.limit(room)
    return {allocation.lane.project: allocation.count for allocation in selection.select(slots)}


def test_project_without_room_is_skipped() -> None:
    assert limited(FairShare(), [lane(A, PriorityClass.CRITICAL), lane(B)], 4, {A: 0, B: inf}) == {B: 4}
    assert limited(FairShare(), [lane(A), lane(B)], 10, {A: 2, B: inf}) == {A: 2, B: 8}


def test_project_with_weight_gets_larger_share() -> None:
    fair_share = FairShare()
    fair_share.weights = {A: 3}

    assert publish(fair_share, [lane(A), lane(B)], 100, lambda lane: lane.project) == {A: 75, B: 25}
