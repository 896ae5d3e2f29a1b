"""One child process: started, its output passed on by line, stopped by signal."""

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
"""Takes the process's name and one line of its output."""


class ProcessFailed(Exception):
    """A child process did not do what it was started for; the message is for the user."""


@cache
def _death_signal_prefix() -> tuple[str, ...]:
    """Return what makes the kernel stop a child whose parent was killed; nothing where that is not to be had."""
    setpriv = shutil.which("setpriv")
    if sys.platform != "linux" or setpriv is None:
        return ()
    probe = subprocess.run([setpriv, "--pdeathsig", "TERM", "true"], capture_output=True, check=False)
    return (setpriv, "--pdeathsig") if probe.returncode == 0 else ()


class Process:
    """A child in a session of its own, so that Ctrl-C in the terminal reaches only its parent.

    Start it from the main thread: the kernel ties the death signal to the thread that started the child.
    """

    def __init__(  # noqa: PLR0913 - what a process is started with
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
        prefix = _death_signal_prefix()
        argv = [*prefix, stop_signal.name.removeprefix("SIG"), *command] if prefix else [*command]
        self._popen = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
        )
        self._pump = threading.Thread(target=self._pass_on, name=f"output of {name}", daemon=True)
        self._pump.start()

    def _pass_on(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._output(self.name, line.rstrip("\n"))

    @property
    def pid(self) -> int:
        """The child's process id, which is also its process group's."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal, None while it runs."""
        return self._popen.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the child's end and its last line of output; return the exit code."""
        code = self._popen.wait(timeout_s)
        self._pump.join(2)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the child alone, if it still runs."""
        if self.exit_code is None:
            self._popen.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """Send a signal to the child and everything that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill_group(self) -> None:
        """Kill the child and everything that it started, and wait for its end."""
        self.send_group(signal.SIGKILL)
        self.wait(10)

    def stop(self, timeout_s: float) -> bool:
        """Ask the child to end and wait; kill it after `timeout_s` seconds and return False."""
        self.send(self._stop_signal)
        try:
            self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill_group()
            return False
        return True
