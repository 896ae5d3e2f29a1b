"""Renews the lease of the job that this process works on."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.store import Claim, Ledger
from contracts.faults import safe_message

RETRY_S = 0.5

logger = structlog.get_logger(__name__)


class Heartbeat:
    """One thread for all the jobs of a process: a thread for each would cost a short job a fifth of its time."""

    def __init__(self, ledger: Ledger, interval_s: float) -> None:
        self._ledger = ledger
        self._interval_s = interval_s
        self._claim: Claim | None = None
        self._beating = threading.Lock()
        threading.Thread(target=self._run, name="lease", daemon=True).start()

    @contextmanager
    def renew_while_running(self, claim: Claim) -> Iterator[None]:
        """Renew the claim's lease at least every interval while the body runs, and never after it.

        A database that does not answer costs a renewal, not the work: the fence decides at the end.
        """
        self._claim = claim
        try:
            yield
        finally:
            with self._beating:
                self._claim = None

    def _run(self) -> None:
        pause = self._interval_s
        while True:
            time.sleep(pause)
            with self._beating:
                pause = self._beat()

    def _beat(self) -> float:
        """Renew the lease of the claim at hand; return the seconds until the next time."""
        claim = self._claim
        try:
            if claim is not None:
                self._ledger.renew(claim)
        except SQLAlchemyError as error:
            # Soon again: when the database is back the dispatcher waits only a moment for renewals.
            logger.warning("lease_renewal_failed", error=safe_message(error))
            return min(self._interval_s, RETRY_S)
        return self._interval_s
