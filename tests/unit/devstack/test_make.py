"""A signal that a real GNU make received: its recipe detects it, because make forwards only SIGTERM."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.process import Process
from tests.support.processes import ROOT
from tests.support.servers import Log
from tests.support.waiting import wait_until

RECIPE = """
import time
from devstack.make import find_make, is_interrupted
make = find_make()
time.sleep(1)
print("interrupted" if is_interrupted(make) else "undisturbed", flush=True)
while not is_interrupted(make):
    time.sleep(0.02)
print("stopping", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_recipe_stops_after_signal_to_make_alone(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "recipe.py").write_text(RECIPE)
    (tmp_path / "Makefile").write_text(f"run:\n\t@exec {sys.executable} recipe.py\n")
    log = Log()
    # `nohup` and a shell's `&` make the tests, and thereby make, ignore signals.
    command = ["env", "--default-signal=HUP,INT", "make", "run"]
    make = Process("make", command, log, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: log.has("undisturbed"), lambda: f"the recipe\n{log}")

        make.send(number)

        wait_until(lambda: log.has("stopping"), lambda: f"the recipe to stop\n{log}")
    finally:
        make.kill_group()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
def test_other_parent_in_environment_of_make_is_not_taken_for_make() -> None:
    """A program blocks all signals while it starts another one; make blocks those that it has received."""
    code = "from devstack.make import find_make; print(find_make())"

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "MAKELEVEL": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "None\n"
