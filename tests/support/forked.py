"""Starts API processes and workers from a process that has already imported most of their code.

Imports are most of the cost of a start. A forked program still reads its own settings, and builds and starts its
own application. The end-to-end tests start the commands of the documentation, without this.
"""

import atexit
import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO, cast

from devstack.process import Process
from tests.support.waiting import DEADLINE_S

ROOT = Path(__file__).parents[2]
PATHS_OF_PYTEST = {str(ROOT / path) for path in ("", "services/api", "services/worker")}
"""`pythonpath` in pyproject.toml, which only pytest has."""

CONSTANTS = {
    "CREDENTIALS_CACHE_SECONDS": ("api.access.credentials", "CACHE_SECONDS"),
    "BODY_WINDOW_SECONDS": ("api.connections", "BODY_WINDOW_S"),
    "DISPATCH_POLL_SECONDS": ("api.dispatch.timing", "POLL_S"),
    "REJECTED_RETRY_SECONDS": ("api.dispatch.timing", "REJECTED_RETRY_S"),
    "HEARTBEAT_SECONDS": ("api.events.endpoints", "HEARTBEAT_S"),
    "CIRCUIT_THRESHOLD": ("app.ledger.circuit", "THRESHOLD"),
    "CIRCUIT_PAUSE_SECONDS": ("app.ledger.circuit", "PAUSE_S"),
}
"""Constants of the product that tests change. They give the value as a variable, as they give settings."""

IGNORED_WARNING = "IGNORED_WARNING"
"""The variable with the start of a warning to ignore. PYTHONWARNINGS has no effect on an interpreter that runs."""

PR_SET_PDEATHSIG = 1

_fork_server = multiprocessing.get_context("forkserver")
_fork_server.set_forkserver_preload(["tests.support.preload"])


class _ForkedProgram:
    """The methods of `subprocess.Popen` that `Process` uses, for a program in a fork."""

    def __init__(self, module: str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._command = (module, *arguments)
        output, write_end = _fork_server.Pipe(duplex=False)
        self._process = _fork_server.Process(
            target=_run, args=(module, arguments, cwd, dict(env), write_end), daemon=True
        )
        self._process.start()
        write_end.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stdout: TextIO = os.fdopen(os.dup(output.fileno()), errors="replace")

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._command, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


class ForkedProcess(Process):
    """A process that runs `python -m module arguments` in a fork."""

    def _start(self, command: Sequence[str], cwd: Path | None, env: Mapping[str, str]) -> subprocess.Popen[str]:
        _python, _m, module, *arguments = command
        return cast("subprocess.Popen[str]", _ForkedProgram(module, arguments, cwd or Path.cwd(), env))


def run_until_exit(directory: Path, command: Sequence[str], env: Mapping[str, str]) -> tuple[int, list[str]]:
    """Run a program that ends by itself; return its exit code and its lines."""
    lines: list[str] = []
    process = ForkedProcess("program", command, lambda _, line: lines.append(line), cwd=directory, env=env)
    return process.wait(DEADLINE_S), lines


def _run(module: str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], output: Connection) -> None:
    """Run the module as `python -m` would, with the output in the pipe."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    output.close()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for variable, (constants, name) in CONSTANTS.items():
        if variable in env:
            setattr(import_module(constants), name, float(env[variable]))
    if IGNORED_WARNING in env:
        warnings.filterwarnings("ignore", env[IGNORED_WARNING])
    tempfile.tempdir = None  # it is determined again, from TMPDIR
    search_path = [path for path in env.get("PYTHONPATH", "").split(":") if path]
    sys.path[:] = [str(cwd), *search_path, *(path for path in sys.path if path not in PATHS_OF_PYTEST)]
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        # multiprocessing ends a process without these functions.
        atexit._run_exitfuncs()
