"""A signal that a real GNU make received: its recipe detects it, because make forwards only SIGTERM."""

import signal
import sys
from pathlib import Path

import pytest

from devstack.process import Process
from tests.support.processes import ROOT
from tests.support.servers import Log
from tests.support.waiting import wait_until

RECIPE = """
import os, time
from devstack.make import is_interrupted
make = os.getppid()
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
    make = Process("make", ["make", "run"], log, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: log.has("undisturbed"), lambda: f"the recipe\n{log}")

        make.send(number)

        wait_until(lambda: log.has("stopping"), lambda: f"the recipe to stop\n{log}")
    finally:
        make.kill_group()
