"""Runs the jobs of a batch one after the other, and ends them in one transaction."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from time import perf_counter, time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import structlog
from celery.exceptions import Ignore, Retry
from psycopg2.errors import QueryCanceled
from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from structlog.contextvars import bound_contextvars

from app.ledger.child import PoolMemory
from app.ledger.errors import JobDead, PermanentError, SkipJob
from app.ledger.reports import Report, report
from app.ledger.store import Claim, Effect, LeaseLost, Ledger
from app.ledger.task import DATABASE_DOWN_ERRORS, attempt_context, build_result, retry_while_database_down
from app.ledger.worker import get_heartbeat
from app.logs import build_log_fields
from app.metrics import jobs as metrics
from app.traces import job_context
from contracts import tracing
from contracts.faults import safe_message
from contracts.ledger.states import SKIPPED, SUCCEEDED
from contracts.messages import Message

if TYPE_CHECKING:
    from app.ledger.batch_task import BatchTask

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class BatchJob:
    """A job of a batch, and what has happened to it."""

    claim: Claim
    fields: dict[str, Any]
    """The message as stored with the job."""
    log_fields: dict[str, Any] = field(default_factory=dict)
    started: float = 0
    """The time of the start by `perf_counter`."""
    ran_s: float = 0
    result: Any = None
    skip: SkipJob | None = None
    is_done: bool = False
    """Whether the task's own work has ended without a failure."""
    state: str | None = None
    """The state in which the attempt has ended, unless it failed or lost its lease."""
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(self.claim.job_id, self.fields)


class _Blocked(Exception):
    """The statement timeout has ended a transaction: another one locks a row of one of the jobs."""


class Batch:
    """The jobs that one message runs, the lead first. Enter it to renew their leases."""

    def __init__(
        self, task: "BatchTask", ledger: Ledger, jobs: Sequence[BatchJob], memory: PoolMemory, index: int
    ) -> None:
        self._task = task
        self._ledger = ledger
        self._jobs = jobs
        self._memory = memory
        self._index = index
        self._sources: Mapping[UUID, Any] = {}
        self._is_loaded = False
        self._began = perf_counter()
        self._leases = ExitStack()

    def __enter__(self) -> Self:
        renewal = get_heartbeat(self._ledger).renew_while_running([job.claim for job in self._jobs])
        self._leases.enter_context(renewal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._leases.close()
        if kind is None or issubclass(kind, Exception):
            self._memory.leave(self._index)
        # Otherwise the process ends: the main process reads the memory, and releases the jobs.

    def run_lead(self, message: Message) -> None:
        """Run the first job, in its context. Raises Retry or JobDead if it fails."""
        self._run(self._jobs[0], message)

    def run_followers(self) -> dict[str, Any]:
        """Run the other jobs while there is time, and end all of them; return the Celery result of the lead.

        Raises Retry or JobDead if the lead has failed.
        """
        lead, *left = self._jobs
        while left and self._may_continue():
            self._run_follower(left.pop(0))
        self._memory.move(self._index, lead.claim.job_id)
        self._release(left)
        self._end_all()
        logger.info("batch_ended", jobs=len(self._jobs) - len(left), lead=str(lead.claim.job_id))
        report(self._task, [job.report for job in self._jobs[1:]])
        if lead.report.failure is not None:
            raise lead.report.failure
        if lead.state is None:
            raise Ignore
        return build_result(lead.state, lead.claim)

    def _may_continue(self) -> bool:
        if not self._is_loaded or self._memory.is_stopping:
            return False
        return perf_counter() - self._began < self._task.size.slice_s

    def _run_follower(self, job: BatchJob) -> None:
        task, queue = self._task, job.claim.queue
        metrics.record_start(task.name, queue, job.claim.waited_s)
        try:
            message = self._read_message(job)
        except (ValidationError, PermanentError) as error:
            with bound_contextvars(**build_log_fields(job.claim.job_id, task.name, queue, job.fields)):
                self._fail(job, error)
            return
        # The failure is reported with the batch.
        with suppress(Retry, JobDead), job_context(task.name, queue, message), attempt_context(job.claim):
            self._run(job, message)

    def _read_message(self, job: BatchJob) -> Message:
        """Return the message of a follower. That of the lead was checked when it was received."""
        message = self._task.message_type.model_validate(job.fields)
        if message.job_id != job.claim.job_id:
            raise PermanentError(f"the job_id of the message is {message.job_id}, but the job is another one")
        return message

    def _run(self, job: BatchJob, message: Message) -> None:
        """Run the task's own work. Records its failure at once, and raises Retry or JobDead."""
        self._memory.move(self._index, job.claim.job_id)
        job.log_fields = {
            **build_log_fields(job.claim.job_id, self._task.name, job.claim.queue, message.as_json()),
            **tracing.ids(),
            "contract_version": message.contract_version,
            "attempt": job.claim.attempt_number,
        }
        job.report.started_at, job.started = time(), perf_counter()
        self._task.claim = job.claim
        try:
            if not self._is_loaded:
                self._load(message)
            job.result = self._task.run_limited(message, self._sources.get(job.claim.job_id))
        except SkipJob as skip:
            job.skip = skip
        except Exception as error:  # noqa: BLE001 - any exception of a task ends its attempt in the ledger
            self._fail(job, error)
            if job.report.failure is None:
                return
            raise job.report.failure from None
        finally:
            job.ran_s, job.report.ended_at = perf_counter() - job.started, time()
        job.is_done = True

    def _load(self, lead: Message) -> None:
        """Read what all jobs need. If that fails, the lead fails, and the others are released."""
        messages = [lead]
        for job in self._jobs[1:]:
            try:
                messages.append(self._task.message_type.model_validate(job.fields))
            except ValidationError:
                continue  # fails when it is its turn
        self._sources = self._task.load(messages)
        self._is_loaded = True

    def _fail(self, job: BatchJob, error: Exception) -> None:
        """Record a failure, while its exception is handled."""
        try:
            job.report.failure = self._task.fail(self._ledger, job.claim, error, job.started or perf_counter())
        except LeaseLost:
            logger.warning("lease_lost")

    def _release(self, jobs: Sequence[BatchJob]) -> None:
        if not jobs:
            return
        ids = [job.claim.job_id for job in jobs]
        try:
            released = retry_while_database_down(lambda: self._ledger.release(ids, self._ledger.holder))
        except SQLAlchemyError as error:
            # The dispatcher recovers them when their leases expire.
            logger.warning("batch_release_failed", error=safe_message(error))
        else:
            logger.info("batch_released", jobs=released, lead=str(self._jobs[0].claim.job_id))

    def _end_all(self) -> None:
        """End all jobs in one transaction. If it fails because of one of them, end each alone."""
        done = [job for job in self._jobs if job.is_done]
        if not done:
            return
        try:
            ages = retry_while_database_down(lambda: self._complete(done))
        except DATABASE_DOWN_ERRORS as error:
            # The outage was longer than a lease: the dispatcher recovers the jobs.
            logger.warning("batch_not_ended", jobs=len(done), error=safe_message(error))
            return
        except Exception as error:  # noqa: BLE001 - any error of one job must not affect the others
            logger.warning("batch_ended_one_by_one", jobs=len(done), error=safe_message(error))
            for job in done:
                self._end_alone(job)
            return
        for job in done:
            log = logger.bind(**job.log_fields)
            age_s = ages.get(job.claim.job_id)
            if age_s is None:
                log.warning("lease_lost")
                continue
            state = SUCCEEDED if job.skip is None else SKIPPED
            metrics.record_end(self._task.name, job.claim.queue, state, job.ran_s, age_s)
            self._record_end(job, state)
            if job.skip is None:
                log.info("job_completed")
            else:
                log.info("job_skipped", reason=str(job.skip))

    def _complete(self, done: Sequence[BatchJob]) -> dict[UUID, float]:
        results = {job.claim.job_id: job.result for job in done if job.skip is None}
        skipped = [job.claim.job_id for job in done if job.skip is not None]

        def write(connection: Connection, owned: Collection[UUID]) -> None:
            kept = [result for job_id, result in results.items() if job_id in owned]
            if kept:
                self._task.store(connection, kept)

        try:
            return self._ledger.complete_batch(results.keys(), skipped, write)
        except OperationalError as error:
            if isinstance(error.orig, QueryCanceled):
                raise _Blocked("a row of a job is locked") from error
            raise

    def _end_alone(self, job: BatchJob) -> None:
        def create_effect() -> Effect:
            if job.skip is not None:
                raise job.skip
            return lambda connection: self._task.store(connection, [job.result])

        self._memory.move(self._index, job.claim.job_id)
        with bound_contextvars(**job.log_fields):
            try:
                state = self._task.end_attempt(self._ledger, job.claim, job.started, create_effect)
            except LeaseLost:
                logger.warning("lease_lost")
            except (Retry, JobDead) as failure:
                job.report.failure = failure
            except DATABASE_DOWN_ERRORS as error:
                logger.warning("batch_not_ended", jobs=1, error=safe_message(error))
            else:
                self._record_end(job, state)

    @staticmethod
    def _record_end(job: BatchJob, state: str) -> None:
        job.state = state
        job.report.result = build_result(state, job.claim)
