"""The autoscaler adds pods at once and removes them one by one."""

import pytest
from pydantic import ValidationError

from api.autoscaler.decision import SCALE_DOWN_AFTER_S, SCALE_DOWN_INTERVAL_S, PodCount
from api.autoscaler.settings import AutoscalerSettings


def pod_count() -> PodCount:
    return PodCount(per_pod=2, pod_max=10, now=0)


@pytest.mark.parametrize(("jobs", "expected"), [(0, 1), (1, 1), (2, 1), (3, 2), (15, 8), (20, 10), (8000, 10)])
def test_pods_cover_all_jobs_within_bounds(jobs: int, expected: int) -> None:
    assert pod_count().decide(current=1, jobs=jobs, now=0) == expected


def test_stopped_queue_stays_stopped() -> None:
    assert pod_count().decide(current=0, jobs=8000, now=0) == 0


def test_pods_are_removed_one_by_one_after_quiet_time() -> None:
    pods = pod_count()
    assert pods.decide(current=1, jobs=8000, now=1000) == 10
    counts = []
    current = 10
    for now in range(1015, 1015 + SCALE_DOWN_AFTER_S + 3 * SCALE_DOWN_INTERVAL_S, 15):
        current = pods.decide(current, jobs=0, now=now)
        counts.append((now - 1000, current))

    assert [at for at, count in counts if count == 10][-1] == SCALE_DOWN_AFTER_S - 15
    assert dict(counts)[SCALE_DOWN_AFTER_S] == 9
    assert dict(counts)[SCALE_DOWN_AFTER_S + SCALE_DOWN_INTERVAL_S] == 8
    assert min(count for _, count in counts) == 6, "one pod per interval"


def test_new_burst_within_quiet_time_keeps_pods() -> None:
    pods = pod_count()
    for now in range(0, 900, 15):
        jobs = 20 if now % 240 == 0 else 0
        assert pods.decide(current=10, jobs=jobs, now=now) == 10


def test_new_instance_watches_before_it_removes_pods() -> None:
    assert pod_count().decide(current=10, jobs=0, now=SCALE_DOWN_AFTER_S - 1) == 10


def test_maximum_of_one_queue_keeps_default_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSCALER_PODS", " issues=20")
    assert AutoscalerSettings().autoscaler_pods == {"issues": 20, "default": 4}


@pytest.mark.parametrize(
    "value", ["20", "issues", "issues=", "issues=0", "issues=-1", "other=3", "issues=1,,", "issues=²"]
)
def test_bad_maximum_is_rejected(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSCALER_PODS", value)
    with pytest.raises(ValidationError):
        AutoscalerSettings()
