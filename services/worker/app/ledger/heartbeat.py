"""Renews the leases of the jobs that this process runs."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.store import Claim, Ledger
from contracts.faults import safe_message

RETRY_S = 0.5

logger = structlog.get_logger(__name__)


class Heartbeat:
    """A thread that renews leases. A process has only one: a thread per job would slow short jobs by 20%."""

    def __init__(self, ledger: Ledger, interval_s: float) -> None:
        self._ledger = ledger
        self._interval_s = interval_s
        self._claims: Sequence[Claim] = ()
        self._renewal_lock = threading.Lock()
        threading.Thread(target=self._run, name="lease", daemon=True).start()

    @contextmanager
    def renew_while_running(self, claims: Sequence[Claim]) -> Iterator[None]:
        """Renew the leases at least once per interval while the body runs, and never afterwards.

        A failed renewal does not stop the work. The fence decides at the end whether the result is written.
        """
        self._claims = claims
        try:
            yield
        finally:
            with self._renewal_lock:
                self._claims = ()

    def _run(self) -> None:
        pause = self._interval_s
        while True:
            time.sleep(pause)
            with self._renewal_lock:
                pause = self._renew()

    def _renew(self) -> float:
        """Renew the leases of the current claims; return the seconds until the next renewal."""
        claims = self._claims
        try:
            if claims:
                self._ledger.renew(claims)
        except SQLAlchemyError as error:
            # Retry soon: after an outage of the database, the dispatcher waits only briefly for renewals.
            logger.warning("lease_renewal_failed", error=safe_message(error))
            return min(self._interval_s, RETRY_S)
        return self._interval_s
