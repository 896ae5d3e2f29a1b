"""The base of every task: it carries the ledger, so that a task writes only its own work."""

import traceback
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any, get_type_hints

import structlog
from celery import Task
from celery.exceptions import Ignore, Retry
from structlog.contextvars import bound_contextvars

from app.database.config import SyncSessionLocal
from app.ledger.errors import Skip, kind_of
from app.ledger.heartbeat import renewing
from app.ledger.store import Claim, Effect, Failure, LeaseLost, Ledger
from app.settings import settings
from contracts.messages import Message
from contracts.states import JobState

logger = structlog.get_logger(__name__)


@cache
def _ledger(worker: str) -> Ledger:
    return Ledger(SyncSessionLocal, worker, timedelta(seconds=settings.lease_seconds), settings.retry_delays)


class LedgerTask(Task):  # type: ignore[type-arg] # celery.Task is generic only in its stubs
    """Runs a task as an attempt of its job.

    The task's function takes its `message`, of the class that it is annotated with, works outside any
    transaction, and returns an `Effect`, which is committed together with the job's end. It may raise
    `Skip`, `PermanentError`, or anything else, which is tried again by the ledger's schedule.
    """

    abstract = True
    claim: Claim
    """The attempt under way; a bound task may look at it."""

    @cached_property
    def message_type(self) -> type[Message]:
        """The class of message that the task takes."""
        annotated: type[Message] = get_type_hints(self.run)["message"]
        return annotated

    def __call__(self, **fields: Any) -> dict[str, Any]:
        """Claim the job of the message, work, and end the attempt; return what Celery's result shows."""
        message = self.message_type.model_validate(fields)
        ledger = _ledger(self.request.hostname or "unknown")
        claim = ledger.claim(message.job_id)
        if claim is None:
            logger.info("duplicate_dropped", job_id=str(message.job_id))
            raise Ignore
        self.claim = claim
        with bound_contextvars(job_id=str(claim.job_id), task=self.name, attempt=claim.attempt):
            try:
                state = self._attempt(ledger, claim, message)
            except LeaseLost:
                logger.warning("lease_lost")
                raise Ignore from None
        return {"state": state, "attempt": claim.attempt}

    def _attempt(self, ledger: Ledger, claim: Claim, message: Message) -> JobState:
        try:
            with renewing(ledger, claim, settings.lease_seconds / 3):
                effect: Effect = self.run(message)
            ledger.finish(claim, JobState.SUCCEEDED, effect)
        except LeaseLost:
            raise
        except Skip as reason:
            ledger.finish(claim, JobState.SKIPPED)
            logger.info("skipped", reason=str(reason))
            return JobState.SKIPPED
        except Exception as error:  # noqa: BLE001 - whatever a task raises ends its attempt in the ledger
            self._fail(ledger, claim, error)
        logger.info("succeeded")
        return JobState.SUCCEEDED

    def _fail(self, ledger: Ledger, claim: Claim, error: Exception) -> None:
        failure = Failure(kind_of(error), f"{type(error).__name__}: {error}", traceback.format_exc())
        delay = ledger.fail(claim, failure)
        log = logger.bind(kind=failure.kind.value, error=failure.error)
        if delay is None:
            log.error("dead")
            raise error
        log.warning("retrying", delay_s=delay.total_seconds())
        # Raised by hand, Retry marks the task in Flower and publishes nothing: the ledger has the schedule.
        raise Retry(str(error), error, datetime.now(UTC) + delay) from error
