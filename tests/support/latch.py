"""A latch that pauses workers of tests.support.paused_app after they have read the text of an issue."""

import os
from pathlib import Path

from tests.support.waiting import wait_until


class FileLatch:
    """A file that exists while workers must wait. Each waiting process creates a file of its own next to it."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "hold"
        self._file.touch()
        self.env = {"HOLD_FILE": str(self._file)}

    def wait(self, processes: int = 1) -> None:
        """Wait until this number of processes are waiting."""
        wait_until(
            lambda: len([*self._file.parent.glob(f"{self._file.name}.*")]) >= processes,
            f"{processes} processes to read a text",
        )

    def release(self) -> None:
        """Resume the workers."""
        self._file.unlink()


def reached_file(latch: Path) -> Path:
    """Return the file that this process creates when it waits for the latch."""
    return latch.with_name(f"{latch.name}.{os.getpid()}")
