"""Starts a child process, forwards its output by line, and stops it with a signal."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

Output = Callable[[str, str], None]
"""Receives the name of the process and one line of its output."""


class ProcessFailed(Exception):
    """A child process failed. The message is shown to the user."""


@cache
def _death_signal_prefix() -> tuple[str, ...]:
    """Return a command prefix that makes the kernel stop a child if its parent dies; empty if not supported."""
    setpriv = shutil.which("setpriv")
    if sys.platform != "linux" or setpriv is None:
        return ()
    probe = subprocess.run([setpriv, "--pdeathsig", "TERM", "true"], capture_output=True, check=False)
    return (setpriv, "--pdeathsig") if probe.returncode == 0 else ()


class Process:
    """A child process in its own session, so that Ctrl-C in the terminal reaches only the parent.

    Start it from the main thread, because the kernel ties the death signal to the thread that starts the child.
    """

    def __init__(  # noqa: PLR0913 - the parameters of a process
        self,
        name: str,
        command: Sequence[str],
        output: Output,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self._output = output
        self._stop_signal = stop_signal
        self._popen = self._start(command, cwd, {**os.environ, **(env or {})})
        self._is_group_killed = False
        self._pump = threading.Thread(target=self._forward_output, name=f"output of {name}", daemon=True)
        self._pump.start()

    def _start(self, command: Sequence[str], cwd: Path | None, env: Mapping[str, str]) -> subprocess.Popen[str]:
        prefix = _death_signal_prefix()
        name = self._stop_signal.name.removeprefix("SIG")
        return subprocess.Popen(
            [*prefix, name, *command] if prefix else [*command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
        )

    def _forward_output(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._output(self.name, line.rstrip("\n"))

    @property
    def pid(self) -> int:
        """The process id of the child, which is also the id of its process group."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative if a signal ended the child; None while it runs."""
        return self._popen.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait until the child has ended and its output is forwarded; return the exit code."""
        code = self._popen.wait(timeout_s)
        self._pump.join(2)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the child only, if it still runs."""
        if self.exit_code is None:
            self._popen.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """Send a signal to the child and its descendants."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill_group(self) -> None:
        """Kill the child and its descendants, and wait until the child has ended.

        Only once: later the system may have given the id of the group to another one.
        """
        if not self._is_group_killed:
            self._is_group_killed = True
            self.send_group(signal.SIGKILL)
        self.wait(10)

    def stop(self, timeout_s: float) -> bool:
        """Send the stop signal and wait; after `timeout_s` seconds kill the child and return False.

        Descendants that outlive the child are killed too.
        """
        self.send(self._stop_signal)
        try:
            self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill_group()
            return False
        self.kill_group()
        return True
