"""The periodic check of all connections."""

import asyncio
from typing import Any

import pytest

from api import connections


class Connection:
    """A connection that counts its checks, and fails in them if `error` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.transport, self._error = self, error
        self.checks, self.is_aborted = 0, False

    def extend(self, _seconds: float) -> None:
        self.checks += 1
        if self._error is not None:
            raise self._error

    def check(self) -> None: ...

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.anyio
async def test_fault_in_one_connection_aborts_it_and_leaves_others_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faulty, sound = Connection(RuntimeError("a fault")), Connection()
    opened: set[Any] = {faulty, sound}
    monkeypatch.setattr(connections.BoundedProtocol, "open", opened)
    monkeypatch.setattr(connections, "CHECK_EVERY_S", 0.001)

    checking = asyncio.create_task(connections._check_all())
    async with asyncio.timeout(60):
        while sound.checks < 3:  # noqa: ASYNC110 - the checks announce nothing
            await asyncio.sleep(0.001)
    checking.cancel()

    assert (faulty.checks, faulty.is_aborted, opened) == (1, True, {sound})
