"""The base of every task: it carries the ledger, so that a task writes only its own work."""

import math
import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from time import perf_counter
from typing import Any, NoReturn, TypeVar, get_type_hints

import structlog
from celery import Task
from celery.exceptions import Ignore, Retry
from sqlalchemy.exc import InterfaceError, OperationalError
from structlog.contextvars import bound_contextvars
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from app.broker.rejected import store_without_job
from app.ledger.errors import (
    JobDead,
    PermanentError,
    ProviderError,
    SkipJob,
    TransientError,
    classify_error,
    describe,
)
from app.ledger.store import Claim, Effect, Failure, LeaseLost, Ledger
from app.ledger.worker import LedgerRequest, circuits, get_heartbeat, get_ledger
from app.metrics import jobs as metrics
from app.settings import settings
from app.traces import job_context
from contracts import tracing
from contracts.faults import safe_message
from contracts.messages import Message
from contracts.retry import max_attempts
from contracts.states import JobState

logger = structlog.get_logger(__name__)

Result = TypeVar("Result")

RETRY_AFTER_MAX_S = 86_400
"""The longest wait that a provider may ask for."""

DATABASE_DOWN_ERRORS = (OperationalError, InterfaceError)


class LedgerTask(Task):  # type: ignore[type-arg] # celery.Task is generic only in its stubs
    """Runs a task as an attempt of its job.

    The task's function takes its `message`, of the class that it is annotated with, works outside any
    transaction, and returns an `Effect`, which is committed together with the job's end. It may raise
    `SkipJob`, `PermanentError`, or anything else, which is tried again by the ledger's schedule.
    """

    abstract = True
    Request = LedgerRequest  # type: ignore[assignment] # Celery takes a class as well as its name
    throws = (JobDead,)  # which the ledger has logged
    provider: str | None = None
    """The service outside that the task depends on; its `ProviderError`s open the task's circuit."""
    claim: Claim
    """The attempt under way; a bound task may look at it."""
    circuit: str | None = None
    """The circuit of the attempt under way."""
    provider_error: ProviderError | None = None
    """A failure of the provider that a bound task has made up for: the circuit counts it all the same."""

    def circuit_key(self, message: Message) -> str | None:
        """Return the key of the circuit that decides whether the message's job may run now."""
        return None if self.provider is None else self.name

    def on_circuit_open(self, message: Message, until: datetime) -> None:
        """Take note that the message's job was put off until then; a task may put off others with it."""

    @property
    def is_last_attempt(self) -> bool:
        """Whether the schedule allows no other attempt after the one under way."""
        return self.claim.attempts_since_replay >= max_attempts(settings.retry_delays)

    @cached_property
    def message_type(self) -> type[Message]:
        """The class of message that the task takes."""
        annotated: type[Message] = get_type_hints(self.run)["message"]
        return annotated

    def __call__(self, **fields: Any) -> dict[str, Any]:
        """Claim the job of the message, work, and end the attempt; return what Celery's result shows."""
        message = self.message_type.model_validate(fields)
        ledger = get_ledger(self.request.hostname or "unknown", os.getpid())
        with job_context(self.name, (self.request.delivery_info or {}).get("routing_key"), message):
            claim = self._claim(ledger, message)
            tracing.annotate({"attempt": claim.attempt_number})
            with bound_contextvars(attempt=claim.attempt_number):
                try:
                    state = self._attempt(ledger, claim, message)
                except LeaseLost:
                    logger.warning("lease_lost")
                    raise Ignore from None
        return {"state": state, "attempt": claim.attempt_number}

    def _claim(self, ledger: Ledger, message: Message) -> Claim:
        try:
            self.circuit = self.circuit_key(message)
            open_until = None if self.circuit is None else circuits.open_until(self.circuit, message.job_id)
            if open_until is not None and ledger.defer(message.job_id, open_until):
                self.on_circuit_open(message, open_until)
                logger.info("job_deferred", provider=self.provider)
                raise Ignore
            claim = None if open_until is not None else ledger.claim(message.job_id)
            if claim is None:
                self._drop(ledger, message)
                raise Ignore
        except DATABASE_DOWN_ERRORS as error:
            # The job stays queued: when its lease ends the dispatcher publishes it again.
            logger.warning("job_claim_failed", error=safe_message(error))
            raise Ignore from None
        self.claim, self.provider_error = claim, None
        metrics.record_start(self.name, claim.queue, claim.waited_s)
        return claim

    def _drop(self, ledger: Ledger, message: Message) -> None:
        """Let go of a message whose job is claimed or done; keep one that has no job."""
        if ledger.has_job(message.job_id):
            metrics.DUPLICATES.labels(self.name).inc()
            logger.info("duplicate_message_dropped")
        else:
            logger.error("orphan_message_stored")
            store_without_job(self.name, message, str((self.request.delivery_info or {}).get("routing_key")))

    def _attempt(self, ledger: Ledger, claim: Claim, message: Message) -> JobState:
        started = perf_counter()
        try:
            with get_heartbeat(ledger).renew_while_running(claim):
                effect: Effect = self.run(message)
                age_s = retry_while_database_down(lambda: ledger.finish(claim, JobState.SUCCEEDED, effect))
        except LeaseLost:
            raise
        except SkipJob as reason:
            age_s = retry_while_database_down(lambda: ledger.finish(claim, JobState.SKIPPED))
            metrics.record_end(self.name, claim.queue, JobState.SKIPPED, perf_counter() - started, age_s)
            self._report_to_circuit(reason)
            logger.info("job_skipped", reason=str(reason))
            return JobState.SKIPPED
        except Exception as error:  # noqa: BLE001 - whatever a task raises ends its attempt in the ledger
            self._fail(ledger, claim, error, started)
        metrics.record_end(self.name, claim.queue, JobState.SUCCEEDED, perf_counter() - started, age_s)
        self._report_to_circuit(self.provider_error)
        logger.info("job_completed")
        return JobState.SUCCEEDED

    def _fail(self, ledger: Ledger, claim: Claim, error: Exception, started: float) -> NoReturn:
        asked = error.retry_after_s if isinstance(error, TransientError) else None
        retry_after = timedelta(seconds=_bounded(asked))
        failure = Failure(classify_error(error), describe(error), traceback.format_exc(), retry_after)
        delay = retry_while_database_down(lambda: ledger.fail(claim, failure))
        ran_s = perf_counter() - started
        metrics.record_failure(self.name, claim.queue, failure.kind, is_dead=delay is None, ran_s=ran_s)
        self._report_to_circuit(error)
        log = logger.bind(kind=failure.kind.value, error=safe_message(error))
        if delay is None:
            log.error("job_died")
            raise JobDead(failure.error) from None
        log.warning("job_retry_scheduled", delay_s=delay.total_seconds())
        # Raised by hand, Retry marks the task in Flower and publishes nothing: the ledger has the schedule.
        raise Retry(failure.error, when=datetime.now(UTC) + delay) from None

    def _report_to_circuit(self, error: Exception | None) -> None:
        """Count a provider's failure; forget them when it has answered, with a result or a refusal."""
        if self.circuit is None or self.provider is None:
            return
        try:
            if isinstance(error, ProviderError):
                circuits.record_failure(self.circuit, self.provider, describe(error))
            elif error is None or isinstance(error, PermanentError):
                circuits.record_success(self.circuit)
            elif isinstance(error, SkipJob):
                circuits.release_probe(self.circuit)
        except DATABASE_DOWN_ERRORS as unavailable:
            # The job's own end is written; the next job tells the circuit.
            logger.warning("circuit_update_failed", error=safe_message(unavailable))


def _bounded(retry_after_s: float | None) -> float:
    if retry_after_s is None or math.isnan(retry_after_s):
        return 0
    return min(max(retry_after_s, 0), RETRY_AFTER_MAX_S)


def retry_while_database_down(write: Callable[[], Result]) -> Result:
    """Write the end of an attempt although the database may be away, for a lease or until the time limit.

    A commit whose answer was lost is written again, and the fence refuses that.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(DATABASE_DOWN_ERRORS),
        stop=stop_after_delay(settings.lease_seconds),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    return retrying(write)
