"""Start processes, and read their CPU and memory as the operating system counts them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from devstack.process import Process
from tests.support.processes import RunningProcess
from tests.support.servers import Log

MIB = 1024 * 1024


class Started(RunningProcess):
    """A process of a system under test, with its descendants."""

    def cpu_s(self) -> float:
        """Return the CPU seconds of all of them, including those that have ended."""
        return cpu_s(self.process.pid)

    def memory_mib(self) -> float:
        """Return the resident memory of the largest of them, in MiB."""
        return max(member.memory_info().rss for member in _family(self.process.pid)) / MIB

    def check(self) -> None:
        """Exit with its last lines if it has ended."""
        if self.process.exit_code is not None:
            lines = "\n".join(self.log.lines[-100:])
            raise SystemExit(f"benchmark: {self.process.name} exited unexpectedly:\n{lines}")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants, including those that have ended."""
    total = 0.0
    for member in _family(pid):
        try:
            total += sum(member.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue  # it has just ended, and its parent counts it
    return total


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def start(name: str, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Started:
    """Start a process."""
    log = Log()
    return Started(Process(name, command, log, cwd=cwd, env=env), log)


@contextmanager
def running(started: Started) -> Iterator[Started]:
    """Stop the process when the body ends."""
    try:
        yield started
    finally:
        if not started.process.stop(15):
            started.process.kill_group()
