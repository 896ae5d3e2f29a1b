"""The loop that publishes due jobs. Each API process runs one; they work concurrently."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import structlog
from pydantic import ValidationError

from api.background import BackgroundLoop
from api.database import Database, DatabaseUnavailable
from api.dispatch import ledger, schedules, timing
from api.dispatch.broker import Broker, BrokerUnavailable
from api.dispatch.lane_search import LaneSearch
from api.dispatch.limits import RecentLimits
from api.dispatch.publishing import render_messages
from api.metrics import dispatcher as metrics
from api.metrics import jobs as job_metrics
from api.metrics.labels import known_or_other
from api.outage_log import OutageLog
from api.queues.broker import find_consumers
from api.settings import ApiSettings
from contracts import CONTRACT_VERSION
from contracts.ledger.dispatch import CLAIM_MAX
from contracts.ledger.fair_share import Selection
from contracts.messages import RejectedMessage
from contracts.names import REJECTED_MESSAGES_KEY, Queue
from contracts.retry import max_attempts
from contracts.states import RejectionReason
from contracts.validation import describe_errors

Result = TypeVar("Result")

logger = structlog.get_logger(__name__)

MESSAGES_PER_PROCESS = 2
"""Maximum messages that wait in a queue, per worker process that consumes it."""
FULL_QUEUE_POLL_S = (0.005, 0.1)
"""Minimum and maximum seconds before the next poll if jobs are due but their queue is full."""
OUTAGE_POLL_S = 1
"""Maximum seconds before the next poll after an outage, because wake-ups during the outage are lost."""
SWEEP_LIMIT = 1000
REJECTED_LIMIT = 500
REJECTED_BATCHES_MAX = 20
"""Maximum batches of rejected messages to settle before other work."""
BATCH = CLAIM_MAX
"""Maximum number of jobs in one published batch."""

RENEWALS_S = 3
"""Seconds that workers have after an outage of the database to renew their leases."""

OUTAGES = (BrokerUnavailable, DatabaseUnavailable)


class Dispatcher(BackgroundLoop):
    """Publishes due jobs, when woken or polling, and recovers lost jobs and messages."""

    def __init__(self, database: Database, broker: Broker, settings: ApiSettings) -> None:
        super().__init__("dispatcher")
        self._database = database
        self._broker = broker
        self._settings = settings
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._max_attempts = max_attempts(settings.retry_delays)
        self._rejected_retry = timedelta(seconds=timing.REJECTED_RETRY_S)
        self._rejected_timeout = timedelta(seconds=timing.REJECTED_TIMEOUT_S)
        self._renewals_until = 0.0
        self._outages = OutageLog("dispatch_paused", "dispatch_resumed")
        self._slots: Counter[str] = Counter()
        """Worker processes by queue, as of the last sweep."""
        self._searches = {queue: LaneSearch(database, queue) for queue in Queue}
        self._limits: dict[str, int] = {}
        """Maximum published and running jobs by project."""
        self.recent_limits = RecentLimits()
        self._is_waiting = False
        """Whether due jobs were left in the last pass, although their queue has room."""
        self._full_queue_poll_s = dict.fromkeys(Queue, FULL_QUEUE_POLL_S[1])
        self._full: set[Queue] = set()
        """The queues without room in the last pass."""
        recoveries = (self.expire_running, self.find_lost_messages, self.settle_rejected)
        self._sweeps = (self.count_slots, self.read_shares, *recoveries, self.run_schedules)

    async def run(self) -> None:
        """Publish due jobs, and periodically recover lost jobs and messages."""
        next_sweep = 0.0
        # The process may have started during an outage.
        self._renewals_until = asyncio.get_running_loop().time() + RENEWALS_S
        for step in (self.count_slots, self.read_shares):
            await self._run_step(step, [])
        while not self.stopping:
            outages: list[str] = []
            has_room = await self._run_step(self.publish_due, outages)
            if (now := asyncio.get_running_loop().time()) >= next_sweep:
                next_sweep = now + timing.POLL_S
                for step in self._sweeps:
                    await self._run_step(step, outages)
            metrics.LAST_PASS.set(time.time())
            if outages:
                self._outages.record_failure(outages[0])
            else:
                self._outages.record_success()
            await self.rest(self._pause(has_room=has_room is not False, is_outage=bool(outages)))

    def _pause(self, *, has_room: bool, is_outage: bool) -> float:
        if not has_room:
            return min(timing.POLL_S, self.poll_s())
        return min(timing.POLL_S, OUTAGE_POLL_S) if is_outage else timing.POLL_S

    async def _run_step(self, step: Callable[[], Awaitable[Result]], outages: list[str]) -> Result | None:
        """Run one step. The loop and the other steps continue after any exception."""
        try:
            return await step()
        except OUTAGES as error:
            metrics.FAILURES.labels("postgres" if isinstance(error, DatabaseUnavailable) else "redis").inc()
            if isinstance(error, DatabaseUnavailable):
                self._renewals_until = asyncio.get_running_loop().time() + RENEWALS_S
            outages.append(f"{type(error).__name__}: {error}")
        except Exception:
            logger.exception("dispatcher_step_failed", step=getattr(step, "__name__", ""))
        return None

    async def count_slots(self) -> None:
        """Read from the workers' heartbeats how many jobs of each queue can run at once."""
        slots: Counter[str] = Counter()
        for consumer in await self._broker.query(find_consumers):
            for queue in consumer.heartbeat.queues:
                slots[queue] += consumer.heartbeat.processes
        self._slots = slots

    async def read_shares(self) -> None:
        """Read the weights and limits of projects."""
        rows = await ledger.find_shares(self._database)
        self._limits = {row["project"]: row["running_max"] for row in rows if row["running_max"] is not None}
        weights = {row["project"]: row["weight"] for row in rows}
        for search in self._searches.values():
            search.fair_share.weights = weights

    async def publish_due(self) -> bool:
        """Publish due jobs that fit into their queues; return False if a queue or a project is full.

        A queue contains at most two messages per worker process, so an urgent job starts soon.
        """
        self._full.clear()
        self._is_waiting = False
        for queue in Queue:
            bound = MESSAGES_PER_PROCESS * self._slots[queue] or self._settings.queue_bound
            room = bound - await self._broker.count_messages(queue)
            was_low = room * 2 >= bound
            if room > 0 and not self.stopping:
                room -= await self._publish_fairly(queue, room)
            if room <= 0:
                self._full.add(queue)
                self._adapt_poll(queue, was_low=was_low)
        # No event is sent when a project has room again, so a limit is polled like a full queue.
        return not self._full and not self._is_waiting

    def poll_s(self) -> float:
        """Return the seconds until the first full queue, or a project at its limit, is polled again."""
        return min((self._full_queue_poll_s[queue] for queue in self._full), default=FULL_QUEUE_POLL_S[1])

    def _adapt_poll(self, queue: Queue, *, was_low: bool) -> None:
        """Poll a full queue often enough that short jobs do not empty it."""
        least, most = FULL_QUEUE_POLL_S
        poll_s = self._full_queue_poll_s[queue] * (0.5 if was_low else 2)
        self._full_queue_poll_s[queue] = min(most, max(least, poll_s))

    async def _publish_fairly(self, queue: Queue, room: int) -> int:
        """Publish at most `room` due jobs of the queue; return their number."""
        published = 0
        search = self._searches[queue]
        recent = search.find_recent()
        selection = recent or await search.run()
        # Whether lanes that the selection does not contain may have due jobs. If none of the searched lanes had
        # any, the next search waits until it is time.
        may_search = recent is not None and not (search.is_partial and recent.is_empty)
        while published < room and not self.stopping:
            try:
                jobs = await self._claim(queue, selection, min(room - published, BATCH))
            except ledger.LimitsLocked:
                # The selection still has jobs.
                self._is_waiting = True
                break
            if jobs is not None:
                await self._publish(queue, jobs)
                published += len(jobs)
                may_search |= search.is_partial and bool(jobs)
            elif may_search and not selection.at_limit:
                selection, may_search = await search.run(), False
            else:
                self._is_waiting |= search.is_partial
                break
        return published

    async def _claim(self, queue: Queue, selection: Selection, slots: int) -> list[ledger.DueJob] | None:
        """Return at most `slots` due jobs, or None if no project has jobs and room; raise LimitsLocked."""
        if not self._limits and self._settings.project_running_max is None:
            return await self._claim_selected(queue, selection, slots)
        async with self._database.transaction():
            room = await ledger.find_room(self._database, self._limits, self._settings.project_running_max)
            selection.limit(room)
            jobs = await self._claim_selected(queue, selection, slots)
        if at_limit := selection.at_limit:
            self.recent_limits.add(at_limit)
            self._is_waiting = True
        return jobs

    async def _claim_selected(self, queue: Queue, selection: Selection, slots: int) -> list[ledger.DueJob] | None:
        allocations = selection.select(slots)
        if not allocations:
            return None
        jobs, missing = await ledger.claim_due(self._database, queue, allocations, self._lease)
        for lane, number in missing.items():
            selection.refund_unused(lane, number)
        return jobs

    async def _publish(self, queue: Queue, jobs: list[ledger.DueJob]) -> None:
        if not jobs:
            return
        try:
            with render_messages(jobs) as messages:
                await self._broker.publish(queue, messages)
        except BrokerUnavailable:
            metrics.REQUEUED.labels(queue).inc(await ledger.requeue(self._database, [job.id for job in jobs]))
            raise
        metrics.PUBLISHED.labels(queue).inc(len(jobs))

    async def expire_running(self) -> None:
        """Requeue the jobs of workers that stopped renewing their leases.

        After an outage of the database, running workers first get time to renew their leases.
        """
        if asyncio.get_running_loop().time() < self._renewals_until:
            return
        expired = await ledger.expire_running(self._database, SWEEP_LIMIT, self._max_attempts)
        for job in expired:
            metrics.LEASES_EXPIRED.labels(known_or_other(Queue, job.queue)).inc()
            job_metrics.record_lost(job.task, job.queue, job.state)
        states = {job.id: job.state for job in expired}
        for job_id, fields in (await ledger.find_log_fields(self._database, states)).items():
            logger.warning("lease_expired", state=states[job_id], **fields)

    async def find_lost_messages(self) -> None:
        """Requeue queued jobs whose messages are lost.

        A queued job whose message is still in the list is not lost, so its lease is renewed. A message that a
        worker has received is not in the list. The worker claims its job within milliseconds or has crashed.
        """
        for queue, ids in (await ledger.find_expired_queued(self._database, SWEEP_LIMIT)).items():
            waiting = await self._broker.find_waiting_jobs(queue)
            await ledger.renew_queued(self._database, [i for i in ids if str(i) in waiting], self._lease)
            lost = [i for i in ids if str(i) not in waiting]
            if lost:
                requeued = await ledger.requeue_lost(self._database, lost)
                metrics.REQUEUED.labels(known_or_other(Queue, queue)).inc(requeued)
                for fields in (await ledger.find_log_fields(self._database, lost)).values():
                    logger.warning("message_lost", **fields)

    async def settle_rejected(self) -> None:
        """Settle the messages that workers have rejected.

        This must be faster than the workers. A rejected message that is not settled within its lease counts as
        lost, and is published and rejected again.
        """
        for _ in range(REJECTED_BATCHES_MAX):
            entries = await self._broker.list_rejected(REJECTED_LIMIT)
            if not entries or self.stopping:
                return
            rejected = [_read(entry) for entry in entries]
            await ledger.settle_rejected(self._database, rejected, self._rejected_retry, self._rejected_timeout)
            await self._broker.remove_rejected(entries)

    async def run_schedules(self) -> None:
        """Create the jobs of due schedules, unless another dispatcher does."""
        if await schedules.run_due(self._database, self._settings):
            self.wake()


def _read(entry: bytes) -> RejectedMessage:
    try:
        return RejectedMessage.model_validate_json(entry)
    except ValidationError as error:
        # From a newer worker: store it unchanged, for a newer API or an operator.
        return _describe_unreadable(entry, describe_errors(error.errors(include_url=False)))


def _describe_unreadable(entry: bytes, error: str) -> RejectedMessage:
    return RejectedMessage(
        contract_version=CONTRACT_VERSION,
        queue=REJECTED_MESSAGES_KEY,
        reason=RejectionReason.UNDECODABLE,
        error=" ".join(error.split())[:1000],
        worker="dispatcher",
        job_id=None,
        raw=entry,
    )
