"""The goals, and what of them was reached: ratios of medians within one run."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.paired import backlog, growth, jobs, post
from benchmarks.paired.results import Results


@dataclass(frozen=True)
class Goal:
    """A bound on a figure."""

    work: str
    figure: Callable[[Results], float | None]
    """From the results; None where what it needs was not measured."""
    bound: float
    at_least: bool = True

    def reached(self, results: Results) -> bool | None:
        """Tell whether it is reached; None where that was not measured."""
        value = self.figure(results)
        if value is None:
            return None
        return value >= self.bound if self.at_least else value <= self.bound


def _against_naive(measure: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(measure, "ours", "naive")


def _against_usual(measure: str, better: Callable[[list[float]], float]) -> Callable[[Results], float | None]:
    """Return our median by that of the better one of the two usual endpoints."""

    def ratio(results: Results) -> float | None:
        usual = [
            value for name in ("naive", "naive, async") if (value := results.median(measure, name)) is not None
        ]
        ours = results.median(measure, "ours")
        return None if ours is None or not usual else ours / better(usual)

    return ratio


def _against_safe_peers(results: Results) -> float | None:
    """Return our jobs a second of CPU, by those of the fastest peer that lost nothing."""
    safe = [
        speed
        for name, kill in results.kills.items()
        if name not in {"ours", "naive"} and kill.get("not done") == 0
        if (speed := results.median(jobs.PER_CORE, name)) is not None
    ]
    ours = results.median(jobs.PER_CORE, "ours")
    return None if ours is None or not safe else ours / max(safe)


def _last_by_first(results: Results) -> float | None:
    parts = results.values.get(backlog.RATE)
    if not parts:
        return None
    rates = [values[0] for values in parts.values()]
    return rates[-1] / rates[0]


def _many_by_few(measure: str) -> Callable[[Results], float | None]:
    def ratio(results: Results) -> float | None:
        sizes = list(results.values.get(measure, {}))
        return results.ratio(measure, sizes[-1], sizes[0]) if len(sizes) > 1 else None

    return ratio


def _grown(results: Results) -> float | None:
    """Return the largest growth of a process over the backlog."""
    held = results.values.get(backlog.MEMORY, {})
    before = {name.split(",")[0]: values[0] for name, values in held.items() if name.endswith("before")}
    after = {name.split(",")[0]: values[0] for name, values in held.items() if ", after" in name}
    return max((after[name] / before[name] for name in after), default=None)


GOALS = (
    Goal("POST/s at 32 connections, by the better naive twin's", _against_usual(post.PER_SECOND, max), 10),
    Goal(
        "POST/s at 32 connections, by the bare endpoint's",
        lambda results: results.ratio(post.PER_SECOND, "ours", "bare"),
        1.2,
    ),
    Goal("API CPU a POST, by the better naive twin's", _against_usual(post.API_CPU, min), 1 / 8, at_least=False),
    Goal("POST p99 at 80% of the naive twin's rate, by its", _against_naive(post.P99), 1 / 4, at_least=False),
    Goal("POST to enriched, idle, p50, by the naive twin's", _against_naive(jobs.P50), 1.2, at_least=False),
    Goal("POST to enriched, idle, p99, by the naive twin's", _against_naive(jobs.P99), 1.5, at_least=False),
    Goal("jobs/s of a worker core, by the naive twin's", _against_naive(jobs.PER_CORE), 3),
    Goal("jobs/s of a worker core, by the fastest peer that lost nothing", _against_safe_peers, 1),
    Goal("a backlog's last twentieth, by its first", _last_by_first, 0.9),
    Goal("due query, many issues by few", _many_by_few(growth.TAKE_DUE), 1.2, at_least=False),
    Goal("claim, many issues by few", _many_by_few(growth.CLAIM), 1.2, at_least=False),
    Goal("memory after a backlog, by before, the process that grew most", _grown, 1.1, at_least=False),
)
