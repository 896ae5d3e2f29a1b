"""The goals: ratios of medians of one run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks import fairness, jobs, post, scale
from benchmarks.results import Results

TWINS = ("naive", "naive, async")


@dataclass(frozen=True)
class Goal:
    """A figure with the bound that it must keep and the goal; if the goal is above the bound, more is better."""

    name: str
    figure: Callable[[Results], float | None]
    """None if it was not measured."""
    must: float
    goal: float

    def line(self, results: Results) -> str:
        """Return the goal's line of the report."""
        value = self.figure(results)
        measured = "missing" if value is None else f"{value:.3g}"
        return f"goal {self.name} measured={measured} must={self.must:g} goal={self.goal:g}"


def _ratio(measure: str, system: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(measure, system, other)


def _vs_twin(measure: str, better: Callable[[Iterable[float]], float]) -> Callable[[Results], float | None]:
    """Return our median divided by that of the better of the two naive endpoints."""

    def ratio(results: Results) -> float | None:
        ours = results.median(measure, "ours")
        twins = [value for name in TWINS if (value := results.median(measure, name)) is not None]
        return None if ours is None or not twins else ours / better(twins)

    return ratio


def _vs_best_safe_peer(results: Results) -> float | None:
    """Return our jobs per second of CPU divided by those of the fastest peer that loses nothing."""
    safe = [
        speed
        for name, kill in results.kills.items()
        if name not in {"ours", "naive"} and kill["not done"] == 0
        if (speed := results.median(jobs.PER_CORE, name)) is not None
    ]
    ours = results.median(jobs.PER_CORE, "ours")
    return None if ours is None or not safe else ours / max(safe)


def _last_vs_first(measure: str) -> Callable[[Results], float | None]:
    """Return the last median of a measure, in the order of measuring, divided by its first."""

    def ratio(results: Results) -> float | None:
        systems = list(results.values.get(measure, {}))
        return results.ratio(measure, systems[-1], systems[0]) if len(systems) > 1 else None

    return ratio


GOALS = (
    Goal("post_vs_twin", _vs_twin(post.PER_SECOND, max), 5, 10),
    Goal("post_vs_bare", _ratio(post.PER_SECOND, "ours", "bare"), 0.85, 1.2),
    Goal("post_cpu_vs_twin", _vs_twin(post.API_CPU, min), 0.12, 0.07),
    Goal("post_p99_vs_twin", _ratio(post.P99, "ours", "naive"), 0.35, 0.25),
    Goal("idle_p50_vs_naive", _ratio(jobs.P50, "ours", "naive"), 1.1, 0.9),
    Goal("idle_p99_vs_naive", _ratio(jobs.P99, "ours", "naive"), 1.3, 1.0),
    Goal("jobs_cpu_vs_naive", _ratio(jobs.PER_CORE, "ours", "naive"), 8, 15),
    Goal("jobs_cpu_vs_best_safe_peer", _vs_best_safe_peer, 0.8, 1.1),
    Goal("jobs_process_vs_naive", _ratio(jobs.PER_PROCESS, "ours", "naive"), 6, 9),
    Goal("drain_last_vs_first", _last_vs_first(scale.RATE), 0.85, 0.95),
    Goal("worker_memory_last_vs_first", _last_vs_first(scale.MEMORY), 1.1, 1.0),
    Goal("due_query_many_vs_few", _last_vs_first(scale.DUE_QUERY), 1.2, 1.0),
    Goal("claim_many_vs_few", _last_vs_first(scale.CLAIM), 1.2, 1.0),
    Goal("urgent_p99_s", lambda results: results.median(fairness.URGENT, "ours"), 5, 1),
    # Two projects that flood at once have 50% each, +- 10 and 3.
    Goal("fair_share", lambda results: results.median(fairness.SHARE, "ours"), 40, 47),
)
GUARDS = (
    Goal("post_cpu_vs_naive", _ratio(post.API_CPU, "ours", "naive"), 0.25, 0.1),
    Goal("jobs_cpu_vs_naive", _ratio(jobs.PER_CORE, "ours", "naive"), 0.5, 1),
)
"""CPU ratios hold on a machine that other work shares, so `make bench-guard` fails if one misses `must`."""


def is_missed(goal: Goal, results: Results) -> bool:
    """Return whether a measured figure is worse than it must be."""
    value = goal.figure(results)
    assert value is not None, f"{goal.name} was not measured"
    return value < goal.must if goal.goal > goal.must else value > goal.must
