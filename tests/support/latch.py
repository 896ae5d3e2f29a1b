"""Holds workers of tests.support.paused_app while they enrich, after they have read the text."""

from pathlib import Path

from devstack.network import wait_until


class FileLatch:
    """A file that is there while workers are to wait; they leave another one beside it."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "hold"
        self._file.touch()
        self.env = {"HOLD_FILE": str(self._file)}

    def wait(self) -> None:
        """Wait until a worker is held."""
        wait_until(reached_file(self._file).exists, 60, "a worker that has read the text")

    def release(self) -> None:
        """Let the workers go on."""
        self._file.unlink()


def reached_file(latch: Path) -> Path:
    """Return what a worker leaves that is held by that file."""
    return latch.with_suffix(".reached")
