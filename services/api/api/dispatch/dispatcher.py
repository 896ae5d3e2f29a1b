"""The loop that publishes due jobs; each API process runs one, and any number of them get along."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from api.database import UNAVAILABLE, Pool
from api.dispatch import ledger
from api.dispatch.broker import Broker, BrokerUnavailable
from api.dispatch.envelope import celery_message
from api.settings import ApiSettings
from contracts.names import Queue
from contracts.retry import max_attempts

logger = structlog.get_logger(__name__)

FULL_QUEUE_POLL_S = 0.1
"""How soon to look again when jobs are due but their queue has no room."""
SWEEP_LIMIT = 1000
STOP_TIMEOUT_S = 10

OUTAGES: tuple[type[Exception], ...] = (BrokerUnavailable, *UNAVAILABLE)


class Dispatcher:
    """Publishes what is due when woken or polled, and finds what was lost on the way."""

    def __init__(self, pool: Pool, broker: Broker, settings: ApiSettings) -> None:
        self._pool = pool
        self._broker = broker
        self._settings = settings
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._max_attempts = max_attempts(settings.retry_delays)
        self._wakened = asyncio.Event()
        self._stopping = False
        self._outage: str | None = None

    def wake(self) -> None:
        """Look for due jobs at once; called after a commit that made one. Never blocks."""
        self._wakened.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop beside the body; on leaving, let it finish the batch that it holds."""
        loop = asyncio.create_task(self._run(), name="dispatcher")
        try:
            yield
        finally:
            self._stopping = True
            self.wake()
            await asyncio.wait([loop], timeout=STOP_TIMEOUT_S)
            loop.cancel()

    async def _run(self) -> None:
        next_sweep = 0.0
        while not self._stopping:
            pause = self._settings.dispatch_poll_seconds
            now = asyncio.get_running_loop().time()
            try:
                if now >= next_sweep:
                    next_sweep = now + self._settings.dispatch_poll_seconds
                    await self.sweep()
                if not await self.publish_due():
                    pause = min(pause, FULL_QUEUE_POLL_S)
            except OUTAGES as error:
                self._note_outage(f"{type(error).__name__}: {error}")
            except Exception:
                logger.exception("dispatcher_round_failed")
            else:
                self._note_outage(None)
            await self._wait(pause)

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wakened.wait(), seconds)
        except TimeoutError:
            return
        self._wakened.clear()

    def _note_outage(self, outage: str | None) -> None:
        """Log an outage when it begins and when it ends, not each second that it lasts."""
        if outage is not None and self._outage is None:
            logger.warning("dispatch_waits", reason=outage)
        elif outage is None and self._outage is not None:
            logger.info("dispatch_resumes")
        self._outage = outage

    async def publish_due(self) -> bool:
        """Publish all due jobs that their queues have room for; return False where a queue has none."""
        had_room = True
        for queue in Queue:
            room = self._settings.queue_bound - await self._broker.depth(queue)
            while room > 0 and not self._stopping:
                batch = min(room, self._settings.dispatch_batch)
                jobs = await ledger.take_due(self._pool, queue, batch, self._lease)
                await self._publish(queue, jobs)
                room -= len(jobs)
                if len(jobs) < batch:
                    break
            had_room = had_room and room > 0
        return had_room

    async def _publish(self, queue: Queue, jobs: list[ledger.DueJob]) -> None:
        if not jobs:
            return
        messages = [celery_message(job.id, job.task, job.queue, job.message, job.tries) for job in jobs]
        try:
            await self._broker.publish(queue, messages)
        except BrokerUnavailable:
            await ledger.put_back(self._pool, [job.id for job in jobs])
            raise
        logger.debug("published", queue=queue.value, jobs=len(jobs))

    async def sweep(self) -> None:
        """Take back what was lost: jobs whose worker died, and queued jobs whose message is gone.

        A queued job whose message still waits in the list is not lost, however long it waits: its lease
        is renewed. A message that a worker holds is not in the list; that worker has claimed the job
        within milliseconds (prefetch 1), or it died first.
        """
        for job_id, state in (await ledger.expire_running(self._pool, SWEEP_LIMIT, self._max_attempts)).items():
            logger.warning("lease_expired", job_id=str(job_id), state=state)
        for queue, ids in (await ledger.expired_queued(self._pool, SWEEP_LIMIT)).items():
            waiting = await self._broker.waiting(queue)
            await ledger.renew_queued(self._pool, [i for i in ids if str(i) in waiting], self._lease)
            lost = [i for i in ids if str(i) not in waiting]
            if lost:
                logger.warning("messages_lost", queue=queue, jobs=len(lost))
                await ledger.put_back(self._pool, lost)
