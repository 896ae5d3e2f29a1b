"""The base class of every task. It manages the ledger, so that a task contains only its own work."""

import math
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from time import perf_counter
from typing import Any, TypeVar, get_type_hints

import structlog
from celery import Task
from celery.exceptions import Ignore, Retry, SoftTimeLimitExceeded
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
from app.ledger.request import LedgerRequest
from app.ledger.store import Claim, Effect, Failure, LeaseLost, Ledger
from app.ledger.worker import circuits, get_heartbeat, get_ledger
from app.metrics import jobs as metrics
from app.settings import settings
from app.traces import job_context
from contracts import tracing
from contracts.faults import safe_message
from contracts.ledger.states import SKIPPED, SUCCEEDED
from contracts.messages import Message
from contracts.retry import max_attempts
from contracts.states import JobState

logger = structlog.get_logger(__name__)

Result = TypeVar("Result")

RETRY_AFTER_MAX_S = 86_400
"""The longest delay that a provider can request."""

DATABASE_DOWN_ERRORS = (OperationalError, InterfaceError)


class LedgerTask(Task):  # type: ignore[type-arg] # celery.Task is generic only in its stubs
    """Runs a task as an attempt of its job.

    The function of the task has a parameter `message`, whose annotation is the message class. It runs outside any
    transaction and returns an `Effect`, which is committed together with the job's end. It may raise `SkipJob` or
    `PermanentError`. Jobs that raise other exceptions are retried on the ledger's schedule.
    """

    abstract = True
    Request = LedgerRequest  # type: ignore[assignment] # Celery takes a class as well as its name
    throws = (JobDead,)  # the ledger has already logged it
    provider: str | None = None
    """The external service that the task uses. Its `ProviderError`s open the task's circuit breaker."""
    claim: Claim
    """The current attempt, for bound tasks."""
    due_max: int = 0
    """The maximum number of further due jobs that a claim counts."""
    circuit: str | None = None
    """The key of the current attempt's circuit breaker."""
    provider_error: ProviderError | None = None
    """A provider failure that a bound task handled with a fallback. The circuit breaker still counts it."""

    def circuit_key(self, message: Message) -> str | None:
        """Return the key of the circuit breaker for the message's job."""
        return None if self.provider is None else self.name

    def on_circuit_open(self, message: Message, until: datetime) -> None:
        """Handle the deferral of the message's job to `until`. A task may override this to defer other jobs."""

    @property
    def is_last_attempt(self) -> bool:
        """Whether the schedule allows no further attempt after the current one."""
        return self.claim.attempts_since_replay >= max_attempts(settings.retry_delays)

    @cached_property
    def message_type(self) -> type[Message]:
        """The message class of the task."""
        annotated: type[Message] = get_type_hints(self.run)["message"]
        return annotated

    def __call__(self, **fields: Any) -> dict[str, Any]:
        """Claim the job of the message, run the task, and end the attempt; return the Celery result."""
        message = self.message_type.model_validate(fields)
        ledger = get_ledger(self.request.hostname or "unknown", os.getpid())
        with job_context(self.name, self.current_queue, message):
            return self.run_alone(ledger, self.claim_job(ledger, message), message)

    def run_alone(self, ledger: Ledger, claim: Claim, message: Message) -> dict[str, Any]:
        """Run the claimed job and end its attempt, in the context of the job; return the Celery result."""
        with attempt_context(claim):
            try:
                state = self._attempt(ledger, claim, message)
            except LeaseLost:
                logger.warning("lease_lost")
                raise Ignore from None
        return build_result(state, claim)

    @property
    def current_queue(self) -> str:
        """The queue of the current message."""
        return str((self.request.delivery_info or {}).get("routing_key"))

    def create_effect(self, message: Message) -> Effect:
        """Run the task's own work on the message of the current attempt."""
        effect: Effect = self.run(message)
        return effect

    def claim_job(self, ledger: Ledger, message: Message) -> Claim:
        """Claim the job of the message. Raises Ignore if it cannot run now."""
        try:
            claim = retry_while_database_down(lambda: self._claim_or_drop(ledger, message))
        except (*DATABASE_DOWN_ERRORS, SoftTimeLimitExceeded) as error:
            # The job stays queued. The dispatcher publishes it again when its lease expires.
            logger.warning("job_claim_failed", error=safe_message(error))
            raise Ignore from None
        self.claim, self.provider_error = claim, None
        metrics.record_start(self.name, claim.queue, claim.waited_s)
        return claim

    def _claim_or_drop(self, ledger: Ledger, message: Message) -> Claim:
        self.circuit = self.circuit_key(message)
        open_until = None if self.circuit is None else circuits.open_until(self.circuit, message.job_id)
        if open_until is None:
            claim = ledger.claim(message.job_id, self.due_max)
            if claim is not None:
                return claim
            # A job that is still queued is paused.
            if ledger.defer(message.job_id):
                logger.info("job_deferred", reason="paused")
                raise Ignore
        elif ledger.defer(message.job_id, open_until):
            self.on_circuit_open(message, open_until)
            logger.info("job_deferred", reason="circuit_open", provider=self.provider)
            raise Ignore
        self._drop(ledger, message)
        raise Ignore

    def _drop(self, ledger: Ledger, message: Message) -> None:
        """Drop a message whose job is claimed or done; store a message without a job."""
        if ledger.has_job(message.job_id):
            metrics.DUPLICATES.labels(self.name).inc()
            logger.info("duplicate_message_dropped")
        else:
            logger.error("orphan_message_stored")
            store_without_job(self.name, message, self.current_queue)

    def _attempt(self, ledger: Ledger, claim: Claim, message: Message) -> str:
        started = perf_counter()
        with get_heartbeat(ledger).renew_while_running([claim]):
            return self.end_attempt(ledger, claim, started, lambda: self.create_effect(message))

    def end_attempt(
        self, ledger: Ledger, claim: Claim, started: float, create_effect: Callable[[], Effect]
    ) -> JobState:
        """End an attempt with the effect that the function returns, or with its exception; return the state.

        Raises Retry, JobDead or LeaseLost.
        """
        try:
            effect = create_effect()
            age_s = retry_while_database_down(lambda: ledger.complete(claim, SUCCEEDED, effect))
        except LeaseLost:
            raise
        except SkipJob as reason:
            age_s = retry_while_database_down(lambda: ledger.complete(claim, SKIPPED))
            metrics.record_end(self.name, claim.queue, SKIPPED, perf_counter() - started, age_s)
            self._report_to_circuit(reason)
            logger.info("job_skipped", reason=str(reason))
            return SKIPPED
        except Exception as error:  # noqa: BLE001 - any exception of a task ends its attempt in the ledger
            raise self.fail(ledger, claim, error, started) from None
        metrics.record_end(self.name, claim.queue, SUCCEEDED, perf_counter() - started, age_s)
        self._report_to_circuit(self.provider_error)
        logger.info("job_completed")
        return SUCCEEDED

    def fail(self, ledger: Ledger, claim: Claim, error: Exception, started: float) -> Exception:
        """Record the failure of an attempt, while its exception is handled; return the exception for Celery."""
        requested_s = error.retry_after_s if isinstance(error, TransientError) else None
        retry_after = timedelta(seconds=_clamp(requested_s))
        failure = Failure(classify_error(error), describe(error), traceback.format_exc(), retry_after)
        delay = retry_while_database_down(lambda: ledger.fail(claim, failure))
        ran_s = perf_counter() - started
        metrics.record_failure(self.name, claim.queue, failure.kind, is_dead=delay is None, ran_s=ran_s)
        self._report_to_circuit(error)
        # Only the ledger stores the message, because it may quote the issue. Flower and Redis cannot erase it.
        safe = safe_message(error)
        log = logger.bind(kind=failure.kind.value, error=safe)
        if delay is None:
            log.error("job_died")
            return JobDead(safe)
        log.warning("job_retry_scheduled", delay_s=delay.total_seconds())
        # Retry alone marks the task in Flower but publishes nothing: the ledger has the schedule.
        return Retry(safe, when=datetime.now(UTC) + delay)

    def _report_to_circuit(self, error: Exception | None) -> None:
        """Count a failure of the provider; reset the count if the provider returned a result or a rejection."""
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
            # The end of the job is committed. The next job updates the circuit breaker.
            logger.warning("circuit_update_failed", error=safe_message(unavailable))


@contextmanager
def attempt_context(claim: Claim) -> Iterator[None]:
    """Add the number of the attempt to the log lines of the body and to the current span."""
    tracing.annotate({"attempt": claim.attempt_number})
    with bound_contextvars(attempt=claim.attempt_number):
        yield


def build_result(state: str, claim: Claim) -> dict[str, Any]:
    """Return the Celery result of an attempt."""
    return {"state": state, "attempt": claim.attempt_number}


def _clamp(retry_after_s: float | None) -> float:
    if retry_after_s is None or math.isnan(retry_after_s):
        return 0
    return min(max(retry_after_s, 0), RETRY_AFTER_MAX_S)


def retry_while_database_down(write: Callable[[], Result]) -> Result:
    """Retry a write during a database outage, for the duration of a lease or until the task's time limit.

    If only the response to a commit was lost, the fence rejects the second write, and a second claim finds the job
    claimed. Its lease then expires.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(DATABASE_DOWN_ERRORS),
        stop=stop_after_delay(settings.lease_seconds),
        wait=wait_fixed(0.2),
        reraise=True,
    )
    return retrying(write)
