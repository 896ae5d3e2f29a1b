"""Messages in progress, in the worker's main process, and the handling of dead child processes."""

from typing import Any
from uuid import UUID

import structlog
from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined] # its stubs lack it
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request
from celery.worker.state import task_ready
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.child import Position, get_memory
from app.ledger.errors import describe
from app.ledger.store import Failure, LeaseLost, Ledger
from app.ledger.worker import get_ledger
from app.logs import build_log_fields
from app.metrics import jobs as metrics
from contracts.faults import safe_message
from contracts.states import FailureKind

logger = structlog.get_logger(__name__)

_KINDS = {WorkerLostError: FailureKind.LOST, TimeLimitExceeded: FailureKind.TRANSIENT}
"""The kind of a failure, by the error with which the pool reports that a process died or was killed."""


class LedgerRequest(Request):
    """A message in progress.

    The child process records ordinary failures itself. If the child process dies, the main process records the
    failure immediately, before the lease expires: that of the job that the process was at. It releases the other
    jobs of the batch, whose attempts do not count.
    """

    _is_released = False
    """Whether the message's job was released, because another job of its batch failed."""

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Record the death of a child process, also of one that exceeded its hard time limit."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        kind = _KINDS.get(type(error))
        if kind is not None and self._end_attempts(kind, error) != UUID(self.id):
            self._is_released = True
            task_ready(self)
            self.acknowledge()
            self.send_event("task-retried", exception="another job of the batch ended the process", traceback="")
            return None
        return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Handle a time limit. The pool has called `on_failure` before a hard one."""
        if soft or not self._is_released:
            super().on_timeout(soft, timeout)

    def _end_attempts(self, kind: FailureKind, error: Exception) -> UUID:
        """Record the failure of the job that the process was at, and release the others; return its id."""
        metrics.PROCESSES_LOST.inc()
        lead = UUID(self.id)
        memory = get_memory()
        position = None if memory is None else memory.find(lead)
        # If a process dies immediately, its pid is unknown. The search then matches any process of this worker.
        pid = self.worker_pid or 0 if position is None else position.pid
        failed_id = lead if position is None else position.current
        ledger = get_ledger(self.hostname, pid)
        queue = self.delivery_info["routing_key"]
        message = self.kwargs if failed_id == lead else {}
        log = logger.bind(error=safe_message(error), **build_log_fields(failed_id, self.name, queue, message))
        try:
            claim = ledger.find_running(failed_id, f"{self.hostname}/{pid or ''}")
            if claim is not None:
                delay = ledger.fail(claim, Failure(kind, describe(error)))
                metrics.record_failure(self.name, claim.queue, kind, is_dead=delay is None, ran_s=claim.ran_s)
                log.warning("process_died", attempt=claim.attempt_number)
                if failed_id != lead:
                    self._report_follower(failed_id, error)
            if position is not None:
                self._release(ledger, position, failed_id)
        except LeaseLost:
            pass
        except SQLAlchemyError as unavailable:
            # The dispatcher recovers the jobs when their leases expire.
            log.warning("process_died", not_recorded=safe_message(unavailable))
        return failed_id

    def _release(self, ledger: Ledger, position: Position, failed_id: UUID) -> None:
        others = [job_id for job_id in position.job_ids if job_id != failed_id]
        if others:
            logger.info("batch_released", jobs=ledger.release(others, ledger.holder), lead=self.id)

    def _report_follower(self, job_id: UUID, error: Exception) -> None:
        """Store the failure as the Celery result of the job, and show it in Flower."""
        task_id = str(job_id)
        self.task.backend.mark_as_failure(task_id, error)
        if self.eventer and self.eventer.enabled:
            self.eventer.send(
                "task-received", uuid=task_id, name=self.name, args="()", kwargs="{}", root_id=task_id, retries=0
            )
            self.eventer.send("task-failed", uuid=task_id, exception=repr(error), traceback="")
