"""The loop that processes imports in batches. Each API process runs one; only one works at a time."""

from collections.abc import Callable

import structlog

from api.background import BackgroundLoop
from api.database import Database, DatabaseUnavailable
from api.dispatch import timing
from api.imports.batch import BATCH, Batch, BatchOutcome, run_batch
from api.settings import ApiSettings

BUSY_POLL_S = 1
"""Maximum seconds before the next poll after an outage, or while another process imports."""

logger = structlog.get_logger(__name__)


class Importer(BackgroundLoop):
    """Processes unfinished imports of any API process, when woken or polling."""

    def __init__(self, database: Database, settings: ApiSettings, after_commit: Callable[[], None]) -> None:
        super().__init__("importer")
        self._database = database
        self._rerun_after_s = settings.reenrich_after_seconds
        self._after_commit = after_commit
        self._single_rows = 0
        """Rows left to process one by one, after a batch of them failed or exceeded the statement timeout."""

    async def run(self) -> None:
        """Process batches until there are none, then poll."""
        while not self.stopping:
            outcome = await self._process_batch()
            if outcome is BatchOutcome.DONE:
                self._after_commit()
                continue
            await self.rest(timing.POLL_S if outcome is BatchOutcome.IDLE else min(timing.POLL_S, BUSY_POLL_S))

    async def _process_batch(self) -> BatchOutcome:
        """Process one batch. The loop continues after any exception."""
        batch = Batch(limit=1 if self._single_rows else BATCH)
        self._single_rows = max(self._single_rows - 1, 0)
        try:
            return await self._attempt(batch)
        except DatabaseUnavailable as error:
            logger.warning("import_paused", reason=str(error))
            self._single_rows = BATCH if batch.first else 0
        except Exception:
            logger.exception("import_failed")
        return BatchOutcome.BUSY

    async def _attempt(self, batch: Batch) -> BatchOutcome:
        try:
            return await run_batch(self._database, batch, self._rerun_after_s)
        except DatabaseUnavailable:
            raise
        except Exception:
            if batch.first is None:
                raise
            logger.exception("import_batch_failed", operation_id=str(batch.first[0]), row=batch.first[1])
            if batch.limit > 1:
                self._single_rows = batch.limit
                return BatchOutcome.DONE
            return await run_batch(self._database, Batch(limit=1, failing_row=batch.first), self._rerun_after_s)
