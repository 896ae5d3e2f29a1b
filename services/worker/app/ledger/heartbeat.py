"""Renews the lease of the job that this process works on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.store import Claim, Ledger
from contracts.faults import told

RETRY_S = 0.5

logger = structlog.get_logger(__name__)


@contextmanager
def renewing(ledger: Ledger, claim: Claim, interval_s: float) -> Iterator[None]:
    """Renew the claim's lease every `interval_s` seconds while the body runs.

    A database that does not answer costs a renewal, not the work: the fence decides at the end.
    """
    done = threading.Event()

    def beat() -> None:
        pause = interval_s
        while not done.wait(pause):
            try:
                if not ledger.renew(claim):
                    return
                pause = interval_s
            except SQLAlchemyError as error:
                # Soon again: when the database is back the dispatcher waits only a moment for renewals.
                pause = min(interval_s, RETRY_S)
                logger.warning("lease_not_renewed", error=told(error))

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
