"""Stores the metrics of the worker's processes in files, so that the main process can add them up.

This uses prometheus-client's multiprocess mode: each process maps files, which the main process reads at each
scrape. The files are named after the pool's slot instead of the process id. If a child process ends, its
replacement has the same slot and continues with the same files. The number of files and the counts therefore do
not depend on recycled or killed children. billiard reuses a slot only after its last process has ended.

In the main process, only the main thread may count, because it is the thread that forks. prometheus-client guards
all values by one lock, and a child could inherit it in the locked state.

Files are used only if METRICS_PORT is set. Create all metrics with the functions of this module, because it must
decide this before the first metric is created.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from billiard.process import current_process
from prometheus_client import Counter, Histogram, values

from app.settings import settings

NAMESPACE = "issuetracker"
PREFIX = "issuetracker-metrics-"
FRESH_S = 60
"""A younger directory may not be locked yet."""


def slot() -> str:
    """Return the slot of this process: its index in the pool, or `main`."""
    index: int | None = getattr(current_process(), "index", None)
    return "main" if index is None else str(index)


def _lock(directory: Path) -> bool:
    """Lock the directory until this process and its children end; return False if another process locks it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True


def _remove_left_behind(parent: Path) -> None:
    """Remove the directories of workers that were killed."""
    for directory in parent.glob(f"{PREFIX}*"):
        # The directory may belong to another user, or another worker may remove it at the same time.
        with suppress(OSError):
            if time.time() - directory.stat().st_mtime > FRESH_S and _lock(directory):
                shutil.rmtree(directory)


def _private_directory() -> Path:
    _remove_left_behind(Path(tempfile.gettempdir()))
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    _lock(directory)
    atexit.register(_remove_in, os.getpid(), directory)
    return directory


def _remove_in(owner: int, directory: Path) -> None:
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


directory: Path | None = None
"""The private directory of this worker; None if METRICS_PORT is not set."""

if settings.metrics_port is not None:
    directory = _private_directory()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(slot)  # type: ignore[no-untyped-call]


def counter(name: str, what: str, labels: Sequence[str] = ()) -> Counter:
    """Return a new counter, which is read from files and is not in a registry."""
    return Counter(name, what, labels, namespace=NAMESPACE, registry=None)


def histogram(name: str, what: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
    """Return a new histogram, which is read from files and is not in a registry."""
    return Histogram(name, what, labels, namespace=NAMESPACE, registry=None, buckets=buckets)
