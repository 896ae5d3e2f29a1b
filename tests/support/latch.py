"""A latch that pauses workers of tests.support.paused_app after they have read the text of an issue."""

from pathlib import Path

from tests.support.waiting import wait_until


class FileLatch:
    """A file that exists while workers must wait. A waiting worker creates a second file next to it."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "hold"
        self._file.touch()
        self.env = {"HOLD_FILE": str(self._file)}

    def wait(self) -> None:
        """Wait until a worker is waiting."""
        wait_until(reached_file(self._file).exists, "a worker to read the text")

    def release(self) -> None:
        """Resume the workers."""
        self._file.unlink()


def reached_file(latch: Path) -> Path:
    """Return the file that a worker creates when it waits for the latch."""
    return latch.with_suffix(".reached")
