"""A child process and its group: stopped and killed, once."""

import os
import signal

import psutil
import pytest

from devstack.process import Process
from tests.support.waiting import DEADLINE_S, wait_until


def discard(_name: str, _line: str) -> None:
    pass


@pytest.fixture
def signalled(monkeypatch):
    """The groups that got SIGKILL."""
    groups = []
    killpg = os.killpg

    def record(group, number):
        if number == signal.SIGKILL:
            groups.append(group)
        killpg(group, number)

    monkeypatch.setattr(os, "killpg", record)
    return groups


@pytest.mark.parametrize("end", ["kill_group", "stop"])
def test_kill_group_of_an_ended_process_signals_no_group(signalled, end):
    process = Process("sleeper", ["sleep", "60"], discard)
    process.kill_group() if end == "kill_group" else process.stop(DEADLINE_S)

    process.kill_group()

    assert signalled == [process.pid]


def test_stop_kills_descendants_that_outlive_the_child(signalled):
    process = Process("parent", ["bash", "-c", "sleep 60 & echo $!; wait"], lines := Lines())
    wait_until(lambda: bool(lines.found), "the id of the descendant")
    descendant = psutil.Process(int(lines.found[0]))

    assert process.stop(DEADLINE_S)

    descendant.wait(DEADLINE_S)
    assert signalled == [process.pid]


class Lines:
    """Stores the lines of output."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, _name: str, line: str) -> None:
        self.found.append(line)
