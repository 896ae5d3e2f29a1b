"""How steady the machine itself is: the same small calculation again and again, between all measurements."""

import statistics
import time
from dataclasses import dataclass, field

ROUNDS = 200_000


@dataclass
class Noise:
    """The times of that calculation so far, in milliseconds, by the clock and by its own CPU time."""

    clock_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def sample(self) -> None:
        """Do it once."""
        clock, cpu = time.perf_counter(), time.process_time()
        total = 0
        for number in range(ROUNDS):
            total += number * number
        self.cpu_ms.append((time.process_time() - cpu) * 1000)
        self.clock_ms.append((time.perf_counter() - clock) * 1000)

    def spread(self) -> dict[str, float]:
        """Return how far the middle half of the times lies apart, as a part of their median, for clock and CPU."""
        return {"clock": _spread(self.clock_ms), "cpu": _spread(self.cpu_ms)}


def _spread(values: list[float]) -> float:
    first, median, third = statistics.quantiles(values, n=4)
    return (third - first) / median
