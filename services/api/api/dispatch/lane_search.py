"""Search for the lanes of a queue, at a bounded cost."""

import asyncio

from api.database import Database
from api.dispatch import ledger
from contracts.ledger.classes import PriorityClass
from contracts.ledger.fair_share import FairShare, Selection

INTERVAL = 10
"""A search is repeated after this multiple of its duration, so that it takes at most a tenth of the time."""
VALID_MAX_S = 0.5
"""Maximum time for which a result is reused. A job of a lane that it does not contain waits for that time."""
_FIRST = ("", "")


class LaneSearch:
    """Searches for the lanes of one queue.

    A search reads at most `SCANNED_LANES_MAX` lanes of each class, and returns at most `FOUND_LANES_MAX` with due
    jobs. The next one continues behind them.
    """

    def __init__(self, database: Database, queue: str) -> None:
        self._database = database
        self._queue = queue
        self.fair_share = FairShare()
        self.is_partial = False
        """Whether the last search has left lanes to the next one."""
        self._last: dict[int, tuple[str, str]] = dict.fromkeys(PriorityClass, _FIRST)
        self._found: Selection | None = None
        self._valid_until = 0.0

    def find_recent(self) -> Selection | None:
        """Return the result of the last search, or None if it is time for the next one."""
        return self._found if asyncio.get_running_loop().time() < self._valid_until else None

    async def run(self) -> Selection:
        """Search for lanes with due jobs."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        lanes, ends = await ledger.find_lanes(self._database, self._queue, self._last)
        self._last = dict.fromkeys(PriorityClass, _FIRST) | ends
        self.is_partial = bool(ends)
        self._found = Selection(self.fair_share, lanes)
        self._valid_until = began + min(INTERVAL * (loop.time() - began), VALID_MAX_S)
        return self._found
