"""Celery's pool of processes, which also reads a result that arrives in two parts around a stop or a reconnection.

A result of more than 16 KiB, such as an exception with its traceback, is written in two parts. If the event loop
ended between them, Celery 5.6 would take the second part for the start of a result and no longer read from that
process: its message would not be acknowledged, and a stop would wait for the time limit.
"""

from collections.abc import Callable, Iterator
from time import sleep
from typing import Any

from celery.concurrency import asynpool, prefork

Callback = Callable[..., Any]

PART_S = 0.01
"""How long to wait for the next part of a message."""


class ResultHandler(asynpool.ResultHandler):
    """Keeps each unfinished read, and continues it."""

    fileno_to_outq: dict[int, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unfinished: dict[int, tuple[Any, Iterator[None]]] = {}
        """By descriptor, the process and the read of its message."""

    def _recv_message(self, add_reader: Callback, fd: int, callback: Callback, **kwargs: Any) -> Iterator[None]:
        """Read one message of a process. Yields whenever its next part has not arrived yet."""
        read = self._get_unfinished(fd)
        if read is None:
            read = super()._recv_message(add_reader, fd, callback, **kwargs)  # type: ignore[misc]
            self._unfinished[fd] = self.fileno_to_outq.get(fd), read
        try:
            # Not `yield from`: the event loop closes this generator when it ends, but `read` must continue.
            for _ in read:
                yield
        except (OSError, EOFError):  # the process has ended
            del self._unfinished[fd]
            raise
        del self._unfinished[fd]

    def _flush_outqueue(self, fd: int, remove: Callback, process_index: Any, on_state_change: Callback) -> Any:
        """Read the rest of an unfinished message, then one message per call as Celery does."""
        read = self._get_unfinished(fd)
        if read is None or fd not in process_index:
            return super()._flush_outqueue(fd, remove, process_index, on_state_change)  # type: ignore[misc]
        try:
            next(read)
        except StopIteration:
            del self._unfinished[fd]
        except (OSError, EOFError):
            return remove(fd)
        else:
            sleep(PART_S)
        return None

    def _get_unfinished(self, fd: int) -> Iterator[None] | None:
        """Return the unfinished read of the process that has this descriptor now."""
        process, read = self._unfinished.get(fd, (None, None))
        return read if process is self.fileno_to_outq.get(fd) else None


class AsynPool(asynpool.AsynPool):
    """The pool with this result handler."""

    ResultHandler = ResultHandler


class TaskPool(prefork.TaskPool):
    """The setting `worker_pool` of Celery. The module's name appears in the banner."""

    Pool = AsynPool
