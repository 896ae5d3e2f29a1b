"""Stores new issues; those of requests that run at the same time share one statement and one commit.

The first is written at once, and what comes while it is under way goes together next. So a POST that is alone
waits for nobody, and the busier the process is, the less each costs.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import Context

from api.database import Database, DatabaseUnavailable
from api.issues import repository
from api.issues.repository import NewRow
from api.issues.schemas import Issue, IssueCreate
from contracts import tracing

BATCH_MAX = 100
"""Issues that one statement stores."""

QueuedIssue = tuple[NewRow, "asyncio.Future[Issue | None]"]


class IssueBatcher:
    """Writes what waits, one batch after the other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[QueuedIssue] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def store(self, new: IssueCreate) -> Issue | None:
        """Return the issue once it is committed; None where its source already has one of that external id."""
        row = repository.row_of(new)
        # By itself: a transaction commits when its request ends, and an external id may wait for another's end.
        if new.external is not None or self._database.is_in_transaction:
            return (await repository.create_issues(self._database, [row]))[0]
        stored: asyncio.Future[Issue | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, stored))
        if self._writer is None:
            # In a context of its own, since it goes on for other requests than the one that began it.
            self._writer = asyncio.create_task(self._write_all(), name="issue-batcher", context=Context())
        with tracing.sql(repository.CREATE):
            return await stored

    async def _write_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
            # Of a request that was cancelled before its turn nothing is stored.
            await self._write([waiting for waiting in batch if not waiting[1].done()])
        self._writer = None

    async def _write(self, batch: Sequence[QueuedIssue]) -> None:
        try:
            issues = await repository.create_issues(self._database, [row for row, _ in batch])
        except DatabaseUnavailable as error:
            _refuse(batch, error)
            if not error.may_be_committed:
                # Those behind it would only wait for the same, one batch after the other.
                _refuse(self._waiting, error)
                self._waiting.clear()
        except Exception as error:  # noqa: BLE001 - it is each request's own
            if len(batch) > 1:
                # Nothing was stored, because of one of them: each gets a statement of its own.
                await asyncio.gather(*(self._write([waiting]) for waiting in batch))
                return
            _refuse(batch, error)
        else:
            for (_, stored), issue in zip(batch, issues, strict=True):
                if not stored.done():
                    stored.set_result(issue)


def _refuse(batch: Iterable[QueuedIssue], error: Exception) -> None:
    for _, stored in batch:
        if not stored.done():
            stored.set_exception(error)
