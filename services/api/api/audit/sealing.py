"""The loop that seals new entries of the audit log. Each API process runs one; only one seals at a time.

Migration 0018 describes the chain. An entry waits for its seal for some seconds; its digest is committed with it.
"""

import structlog

from api.background import BackgroundLoop
from api.database import Database, DatabaseUnavailable

POLL_S = 5.0
BATCH = 1000
"""Maximum entries per transaction."""

_SEAL = "SELECT sealed, last_number, head FROM seal_audit_entries($1)"

logger = structlog.get_logger(__name__)


class AuditSealer(BackgroundLoop):
    """Seals the entries that transactions have committed, periodically."""

    def __init__(self, database: Database) -> None:
        super().__init__("audit-sealer")
        self._database = database

    async def run(self) -> None:
        """Seal until no entry waits, then poll."""
        while not self.stopping:
            if await self._seal() < BATCH:
                await self.rest(POLL_S)

    async def _seal(self) -> int:
        """Seal one batch and return its size. The loop continues after any exception."""
        try:
            batch = await self._database.fetchrow(_SEAL, BATCH)
        except DatabaseUnavailable:
            return 0  # the dispatcher logs outages
        except Exception:
            logger.exception("audit_seal_failed")
            return 0
        assert batch is not None
        if batch["sealed"]:
            # Logs outside the database are copies of the head, which an attacker on the database cannot change.
            logger.info("audit_log_sealed", number=batch["last_number"], head=batch["head"].hex())
        return int(batch["sealed"])
