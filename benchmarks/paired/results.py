"""What was measured: each measure's values for each system, in the order of the rounds."""

import os
import platform
import statistics
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.paired.client import NAME
from benchmarks.paired.noise import Noise
from tests.support.processes import ROOT


@dataclass
class Results:
    """Values by measure and system; the unit is at the end of the measure's name, after a comma."""

    values: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    kills: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By system: what became of the jobs of a worker that was killed; or `missing`, why it could not be run."""
    noise: Noise = field(default_factory=Noise)

    def add(self, measure: str, system: str, value: float) -> None:
        """Keep one round's value."""
        self.values[measure][system].append(value)
        self.noise.sample()

    def median(self, measure: str, system: str) -> float | None:
        """Return the middle of the rounds; None where it was not measured."""
        values = self.values.get(measure, {}).get(system)
        return statistics.median(values) if values else None

    def ratio(self, measure: str, system: str, other: str) -> float | None:
        """Return the system's median divided by the other's; None where either was not measured."""
        one, two = self.median(measure, system), self.median(measure, other)
        return None if one is None or not two else one / two

    def as_json(self) -> dict[str, Any]:
        """Return everything, with where and when it was measured."""
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, {_cpu()}",
            "python": platform.python_version(),
            "client": NAME,
            "noise": {**self.noise.spread(), "clock_ms": self.noise.clock_ms, "cpu_ms": self.noise.cpu_ms},
            "values": self.values,
            "kills": self.kills,
        }


def _commit() -> str:
    made = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return made.stdout.strip()


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a stream
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown processor"
