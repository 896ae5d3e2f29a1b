"""The ledger and the circuit breakers of this worker, and the handling of dead child processes."""

from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import structlog
from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined] # its stubs lack it
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request
from sqlalchemy.exc import SQLAlchemyError

from app.database.config import SyncSessionLocal, engine
from app.ledger.circuit import Circuits
from app.ledger.errors import describe
from app.ledger.heartbeat import Heartbeat
from app.ledger.store import Failure, LeaseLost, Ledger
from app.logs import build_log_fields
from app.metrics import jobs as metrics
from app.settings import settings
from contracts.faults import safe_message
from contracts.states import FailureKind

logger = structlog.get_logger(__name__)

circuits = Circuits(SyncSessionLocal)


@cache
def get_ledger(node: str, pid: int) -> Ledger:
    """Return the ledger for one process of a worker. The process is the holder of leases."""
    worker = f"{node}/{pid}"
    return Ledger(engine, worker, timedelta(seconds=settings.lease_seconds), settings.retry_delays)


@cache
def get_heartbeat(ledger: Ledger) -> Heartbeat:
    """Return this process's heartbeat. It starts with the first job, because threads do not survive a fork."""
    return Heartbeat(ledger, settings.lease_seconds / 3)


class LedgerRequest(Request):
    """A message in progress, in the worker's main process.

    The child process records ordinary failures itself. If the child process dies, the main process records the
    failure immediately, before the lease expires.
    """

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Record the death of a child process."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, WorkerLostError):
            self._end_attempt(FailureKind.LOST, error)
        return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Record that a child process was killed because it exceeded its time limit."""
        if not soft:
            self._end_attempt(FailureKind.TRANSIENT, TimeLimitExceeded(timeout))
        super().on_timeout(soft, timeout)

    def _end_attempt(self, kind: FailureKind, error: Exception) -> None:
        metrics.PROCESSES_LOST.inc()
        queue = self.delivery_info["routing_key"]
        log = logger.bind(error=safe_message(error), **build_log_fields(self.id, self.name, queue, self.kwargs))
        # If a process dies immediately, its pid is unknown. The search then matches any process of this worker.
        ledger = get_ledger(self.hostname, self.worker_pid or 0)
        try:
            claim = ledger.find_running(UUID(self.id), f"{self.hostname}/{self.worker_pid or ''}")
            if claim is not None:
                delay = ledger.fail(claim, Failure(kind, describe(error)))
                metrics.record_failure(self.name, claim.queue, kind, is_dead=delay is None, ran_s=claim.ran_s)
                log.warning("process_died", attempt=claim.attempt_number)
        except LeaseLost:
            return
        except SQLAlchemyError as unavailable:
            # The dispatcher recovers the job when the lease expires.
            log.warning("process_died", not_recorded=safe_message(unavailable))
