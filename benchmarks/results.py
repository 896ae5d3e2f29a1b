"""Measured values of each measure and system, in the order of the rounds."""

import os
import platform
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.support.processes import ROOT


@dataclass
class Results:
    """Values by measure and system. The unit is the last word of the measure's name."""

    values: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    kills: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The outcome of the jobs of killed workers, by system."""
    noise_ms: list[float] = field(default_factory=list)
    """Times of one small calculation between all measurements: how steady the machine is."""

    def add(self, measure: str, system: str, value: float) -> None:
        """Store one round's value."""
        self.values[measure][system].append(value)
        started = time.perf_counter()
        sum(number * number for number in range(200_000))
        self.noise_ms.append((time.perf_counter() - started) * 1000)

    def median(self, measure: str, system: str) -> float | None:
        """Return the median of the rounds, or None if it was not measured."""
        values = self.values.get(measure, {}).get(system)
        return statistics.median(values) if values else None

    def ratio(self, measure: str, system: str, other: str) -> float | None:
        """Return the system's median divided by the other's, or None if either was not measured."""
        one, two = self.median(measure, system), self.median(measure, other)
        return None if one is None or not two else one / two

    def noise(self) -> float:
        """Return the interquartile range of the small calculation's times, relative to their median."""
        first, median, third = statistics.quantiles(self.noise_ms, n=4)
        return (third - first) / median

    def lines(self) -> Iterator[str]:
        """Yield the results as text."""
        yield f"{'measure':<40} {'system':<26} {'median':>9} {'min':>9} {'max':>9}"
        for measure, systems in self.values.items():
            for system, values in systems.items():
                figures = (_figure(value) for value in (statistics.median(values), min(values), max(values)))
                yield f"{measure:<40} {system:<26} " + " ".join(f"{figure:>9}" for figure in figures)
        for system, kill in self.kills.items():
            yield f"kill -9: {system:<10} " + ", ".join(f"{name} {value}" for name, value in kill.items())
        yield f"noise of this machine: {self.noise():.0%}; smaller differences mean nothing"

    def as_json(self) -> dict[str, Any]:
        """Return everything, with the time, the commit and the machine."""
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit.stdout.strip(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "python": platform.python_version(),
            "noise": self.noise(),
            "values": self.values,
            "kills": self.kills,
        }


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
