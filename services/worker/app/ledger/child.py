"""Shared memory in which each process of the pool writes where it is in its batch.

If a process dies, the main process reads which job it was at, and which others to release. The main process writes
whether the worker is stopping. Nothing is shared between workers: the memory is created before the pool is forked.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from struct import Struct
from uuid import UUID

from billiard.process import current_process

BATCH_MAX = 64
"""Maximum jobs of a batch. More gain little, and an urgent job waits for the batch."""

_HEADER = Struct("=?")
_SLOT = Struct("=q16s16si")
"""Process id, lead, current job, and number of followers, whose ids follow."""
_ID_BYTES = 16
_SLOT_BYTES = _SLOT.size + BATCH_MAX * _ID_BYTES


@dataclass(frozen=True, slots=True)
class Position:
    """Where a process is in its batch."""

    pid: int
    current: UUID
    """The job that it runs; the lead before the first job and during the commit."""
    job_ids: Sequence[UUID]
    """All jobs of the batch."""


class PoolMemory:
    """The memory of one worker, with one slot for each process of its pool."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._memory = mmap(-1, _HEADER.size + slots * _SLOT_BYTES)

    @property
    def is_stopping(self) -> bool:
        """Whether the worker is stopping. Processes then release the jobs that they have not started."""
        return bool(_HEADER.unpack_from(self._memory)[0])

    def stop(self) -> None:
        """Record that the worker is stopping."""
        _HEADER.pack_into(self._memory, 0, True)

    def enter(self, index: int, lead: UUID, followers: Sequence[UUID]) -> None:
        """Write the batch of this process, which is the `index`-th of the pool, before it is claimed."""
        start = self._start(index)
        ids = b"".join(follower.bytes for follower in followers)
        self._memory[start + _SLOT.size : start + _SLOT.size + len(ids)] = ids
        _SLOT.pack_into(self._memory, start, os.getpid(), lead.bytes, lead.bytes, len(followers))

    def move(self, index: int, current: UUID) -> None:
        """Write the job that this process starts."""
        start = self._start(index) + 8 + _ID_BYTES
        self._memory[start : start + _ID_BYTES] = current.bytes

    def leave(self, index: int) -> None:
        """Record that this process runs no batch."""
        start = self._start(index)
        self._memory[start : start + _SLOT.size] = bytes(_SLOT.size)

    def find(self, lead: UUID) -> Position | None:
        """Return the position of the process that runs the batch of the lead, or None."""
        for index in range(self.slots):
            start = self._start(index)
            pid, found, current, count = _SLOT.unpack_from(self._memory, start)
            if pid and found == lead.bytes:
                first = start + _SLOT.size
                ids = self._memory[first : first + count * _ID_BYTES]
                followers = [UUID(bytes=ids[place : place + _ID_BYTES]) for place in range(0, len(ids), _ID_BYTES)]
                return Position(pid, UUID(bytes=current), [lead, *followers])
        return None

    @staticmethod
    def _start(index: int) -> int:
        return _HEADER.size + index * _SLOT_BYTES


_memories: list[PoolMemory] = []


def create_memory(slots: int) -> PoolMemory:
    """Create the memory of this worker, in its main process before the pool starts."""
    _memories[:] = [PoolMemory(slots)]
    return _memories[0]


def get_memory() -> PoolMemory | None:
    """Return the memory of this worker, or None outside a worker."""
    return _memories[0] if _memories else None


def get_index() -> int | None:
    """Return the index of this process in the pool; None for other kinds of pools, which run no batches."""
    index: int | None = getattr(current_process(), "index", None)
    memory = get_memory()
    return index if memory is not None and index is not None and index < memory.slots else None
