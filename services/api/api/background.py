"""Background loops of an API process."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STOP_TIMEOUT_S = 10


class BackgroundLoop(ABC):
    """A loop that looks for work when it is woken, and periodically."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._wakened = asyncio.Event()
        self.stopping = False

    def wake(self) -> None:
        """Look for work now. Call it after a commit that created work. Never blocks."""
        self._wakened.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop while the body runs. At the end, wait until it has finished its current batch."""
        loop = asyncio.create_task(self.run(), name=self._name)
        try:
            yield
        finally:
            self.stopping = True
            self.wake()
            await asyncio.wait([loop], timeout=STOP_TIMEOUT_S)
            loop.cancel()

    @abstractmethod
    async def run(self) -> None:
        """Work until `stopping` is true, and `rest` in between."""

    async def rest(self, seconds: float) -> None:
        """Return when woken, or after that time."""
        try:
            await asyncio.wait_for(self._wakened.wait(), seconds)
        except TimeoutError:
            return
        self._wakened.clear()
