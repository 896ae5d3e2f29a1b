"""Store new issues; concurrent requests share one statement and one commit.

The first issue is written immediately, and those that arrive meanwhile form the next batch. A single POST never
waits, and the cost per issue falls under load.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import Context

from api.database import Database, DatabaseUnavailable, record_commit
from api.issues import repository
from api.issues.repository import NewRow
from api.issues.schemas import Issue, IssueCreate
from contracts import tracing

BATCH_MAX = 100
"""Maximum number of issues in one statement."""

QueuedIssue = tuple[NewRow, "asyncio.Future[Issue | None]"]


class IssueBatcher:
    """Writes waiting issues, one batch after another."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[QueuedIssue] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def store(self, new: IssueCreate) -> Issue | None:
        """Return the issue after its commit, or None if its external id already exists."""
        row = repository.build_row(new)
        # Not batched: an open transaction commits later, and an external id may wait for another transaction.
        if new.external is not None or self._database.is_in_transaction:
            return (await repository.create_issues(self._database, [row]))[0]
        stored: asyncio.Future[Issue | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, stored))
        if self._writer is None:
            # In its own context, because it also serves requests other than the one that started it.
            self._writer = asyncio.create_task(self._write_all(), name="issue-batcher", context=Context())
        with tracing.sql(repository.CREATE):
            issue = await stored
        record_commit()
        return issue

    async def _write_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
            # The issue of a cancelled request is not stored.
            await self._write([waiting for waiting in batch if not waiting[1].done()])
        self._writer = None

    async def _write(self, batch: Sequence[QueuedIssue]) -> None:
        try:
            issues = await repository.create_issues(self._database, [row for row, _ in batch])
        except DatabaseUnavailable as error:
            _fail(batch, error)
            if not error.may_be_committed:
                # The waiting batches would fail in the same way, one after another.
                _fail(self._waiting, error)
                self._waiting.clear()
        except Exception as error:  # noqa: BLE001 - each request raises it
            if len(batch) > 1:
                # One invalid row has failed the whole batch: store each row separately.
                await asyncio.gather(*(self._write([waiting]) for waiting in batch))
                return
            _fail(batch, error)
        else:
            for (_, stored), issue in zip(batch, issues, strict=True):
                if not stored.done():
                    stored.set_result(issue)


def _fail(batch: Iterable[QueuedIssue], error: Exception) -> None:
    for _, stored in batch:
        if not stored.done():
            stored.set_exception(error)
