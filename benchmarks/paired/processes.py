"""Started processes, and what they cost by the operating system's own count."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from devstack.process import Process

MIB = 1024 * 1024
KEPT_LINES = 200


@dataclass
class Tail:
    """A process's last lines of output, for the message when it fails."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    is_ready: bool = False
    """Whether a line said so, as Celery's do."""

    def __call__(self, _name: str, line: str) -> None:
        """Take one line."""
        self.lines.append(line)
        self.is_ready = self.is_ready or " ready." in line


@dataclass(frozen=True)
class Family:
    """A process and everything that it has started."""

    pid: int

    def members(self) -> list[psutil.Process]:
        """Return those that live, the first one first."""
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_s(self) -> float:
        """Return the CPU seconds of all of them, those included that have ended."""
        return sum(sum(times[:4]) for times in self._times())

    def _times(self) -> Iterator[tuple[float, ...]]:
        for member in self.members():
            try:
                yield member.cpu_times()
            except psutil.NoSuchProcess:
                continue  # it ended just now, and is in its parent's count

    def memory_mib(self) -> tuple[float, float]:
        """Return the resident memory of the first one, and the most that one of the others holds; MiB."""
        first, *others = (member.memory_info().rss / MIB for member in self.members())
        return first, max(others, default=0.0)


@dataclass
class Started:
    """A running process of a system under test."""

    process: Process
    tail: Tail

    @property
    def family(self) -> Family:
        """It and what it has started."""
        return Family(self.process.pid)

    def check(self) -> None:
        """Stop the run, with its last lines, when it has ended."""
        if self.process.exit_code is not None:
            lines = "\n".join(self.tail.lines)
            raise SystemExit(f"benchmark: {self.process.name} ended by itself:\n{lines}")


def start(name: str, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Started:
    """Start a process."""
    tail = Tail()
    return Started(Process(name, command, tail, cwd=cwd, env=env), tail)


@contextmanager
def running(started: Started) -> Iterator[Started]:
    """Stop it on leaving, whatever happened."""
    try:
        yield started
    finally:
        if not started.process.stop(15):
            started.process.kill_group()
