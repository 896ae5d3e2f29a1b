"""The base class of tasks whose jobs run in batches: a message leads a batch of further due jobs.

The child process claims the job of the message, then followers: due jobs of the same task and queue that have
never failed. It works on them one after the other, and ends all in one transaction. If nothing else is due, the
job runs alone, as those of other tasks.
"""

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from time import perf_counter
from typing import Any
from uuid import UUID

import structlog
from celery.exceptions import Retry
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.ledger.batch import Batch, BatchJob
from app.ledger.batch_size import SLICE_S, BatchSize
from app.ledger.child import BATCH_MAX, PoolMemory, get_index, get_memory
from app.ledger.errors import JobDead
from app.ledger.followers import Follower, get_followers
from app.ledger.soft_limit import limit_time
from app.ledger.store import Claim, Effect, Ledger
from app.ledger.task import LedgerTask, attempt_context
from app.ledger.worker import get_ledger
from app.settings import settings
from app.traces import job_context
from contracts.faults import safe_message
from contracts.ledger.batches import FIRST_ATTEMPT
from contracts.messages import Message

logger = structlog.get_logger(__name__)


class BatchTask(LedgerTask):
    """Runs a task on several jobs per message.

    The function of the task has the parameters `message` and `source`: what `load` has read for it, or None. It
    returns a value for `store`. It may raise as any task.
    """

    abstract = True
    # The limits of the message. The last job of a batch starts within the slice.
    soft_time_limit = settings.task_soft_time_limit + SLICE_S  # type: ignore[assignment] # Celery takes floats too
    time_limit = settings.task_time_limit + SLICE_S  # type: ignore[assignment]
    due_max = BATCH_MAX * settings.worker_concurrency

    @abstractmethod
    def load(self, messages: Sequence[Any]) -> Mapping[UUID, Any]:
        """Read what the jobs of the messages need, by job id, in one statement."""

    @abstractmethod
    def store(self, connection: Connection, results: Sequence[Any]) -> None:
        """Write the results of several jobs, in the transaction that ends them."""

    @cached_property
    def size(self) -> BatchSize:
        """The size of batches in this process."""
        return BatchSize()

    def __call__(self, **fields: Any) -> dict[str, Any]:
        """Claim the job of the message and followers, run them, and end their attempts."""
        message = self.message_type.model_validate(fields)
        ledger = get_ledger(self.request.hostname or "unknown", os.getpid())
        batch: Batch | None = None
        with ExitStack() as renewed:
            try:
                with job_context(self.name, self.current_queue, message):
                    claim = self.claim_job(ledger, message)
                    batch = self._create_batch(ledger, claim, message)
                    if batch is None:
                        return self.run_alone(ledger, claim, message)
                    renewed.enter_context(batch)
                    with attempt_context(claim):
                        batch.run_lead(message)
            except (Retry, JobDead):
                if batch is None:
                    raise
            # The followers run outside the context of the lead: their log lines and spans are their own.
            return batch.run_followers()

    def create_effect(self, message: Message) -> Effect:
        """Run the task on the message of the current attempt, which runs alone."""
        result = self.run_limited(message, self.load([message]).get(message.job_id))
        return lambda connection: self.store(connection, [result])

    def run_limited(self, message: Message, source: Any) -> Any:
        """Run the task's own work on one job, within the soft time limit."""
        started = perf_counter()
        try:
            with limit_time(settings.task_soft_time_limit):
                return self.run(message, source)
        finally:
            self.size.record(perf_counter() - started)

    def _create_batch(self, ledger: Ledger, claim: Claim, message: Message) -> Batch | None:
        """Return the batch that the claimed job leads, or None if it runs alone."""
        index, memory = get_index(), get_memory()
        # A circuit breaker counts the consecutive failures of single jobs, and a provider is slow.
        if index is None or memory is None or memory.is_stopping or self.provider is not None:
            return None
        # Other processes of this worker take their share of what is due.
        count = min(self.size.followers_max, -(-claim.due // settings.worker_concurrency))
        if count <= 0 or claim.attempt_number != FIRST_ATTEMPT:
            return None
        followers = self._claim_followers(ledger, claim, count, memory, index)
        if not followers:
            memory.leave(index)
            return None
        jobs = [BatchJob(claim, message.as_json())]
        for each in followers:
            own = Claim(each.job_id, FIRST_ATTEMPT, FIRST_ATTEMPT, ledger.holder, claim.queue, each.waited_s)
            jobs.append(BatchJob(own, each.message))
        return Batch(self, ledger, jobs, memory, index)

    def _claim_followers(
        self, ledger: Ledger, claim: Claim, count: int, memory: PoolMemory, index: int
    ) -> list[Follower]:
        followers = get_followers(claim.queue, self.name)

        def enter(ids: Sequence[UUID]) -> None:
            memory.enter(index, claim.job_id, ids)

        try:
            return followers.claim(ledger.engine, count, ledger.holder, ledger.lease, enter)
        except SQLAlchemyError as error:
            logger.warning("followers_not_claimed", error=safe_message(error))
            position = memory.find(claim.job_id)
            if position is not None:
                self._release(ledger, position.job_ids, claim)
            return []

    @staticmethod
    def _release(ledger: Ledger, job_ids: Sequence[UUID], lead: Claim) -> None:
        """Release followers whose claim may have been committed although its response was lost."""
        try:
            ledger.release([job_id for job_id in job_ids if job_id != lead.job_id], ledger.holder)
        except SQLAlchemyError as error:
            # The dispatcher recovers them when their leases expire.
            logger.warning("batch_release_failed", error=safe_message(error))
