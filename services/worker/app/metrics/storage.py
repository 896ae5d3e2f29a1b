"""Where the worker's processes keep their counts, so that its main process can add them up.

prometheus-client's multiprocess mode: each process maps files that the main process reads when it is scraped. They
are named by the pool's slot instead of the process's id. A child that ends, however it ends, is replaced by one
in the same slot, which goes on in the same files: neither their number nor what is counted depends on
recycled or killed children. billiard gives a slot away only after it has waited for its last process's end.

In the main process only its main thread may count, which is the one that forks: prometheus-client guards all
values by one lock, and a child would inherit it held.

In effect where METRICS_PORT is set, which is known before the first metric is made: all are made by what is here.
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
"""A directory that is younger may not have been locked yet."""


def slot() -> str:
    """Return which of the worker's processes this is: the pool's index, or `main`."""
    index: int | None = getattr(current_process(), "index", None)
    return "main" if index is None else str(index)


def _lock(directory: Path) -> bool:
    """Hold the directory until this process and its children have ended; False where another holds it."""
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
        # Another user's, or another worker removes it at this moment.
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
"""The private directory of this worker's run; None where nothing is served."""

if settings.metrics_port is not None:
    directory = _private_directory()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(slot)  # type: ignore[no-untyped-call]


def counter(name: str, what: str, labels: Sequence[str] = ()) -> Counter:
    """Return a new counter; it is read from its files, in no registry."""
    return Counter(name, what, labels, namespace=NAMESPACE, registry=None)


def histogram(name: str, what: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
    """Return a new histogram; it is read from its files, in no registry."""
    return Histogram(name, what, labels, namespace=NAMESPACE, registry=None, buckets=buckets)
