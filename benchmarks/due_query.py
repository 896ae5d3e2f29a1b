"""Measure how the dispatcher finds and claims due jobs, by the number of due jobs and of their projects.

`python -m benchmarks.due_query 10000 1000000` prints the milliseconds, for 1, 100 and 10,000 projects, of the
search for lanes, of a claim of eight jobs, of the waiting times and of the counts by project. The last column is
the longest time for which the first pass of a dispatcher blocks the event loop. Each value is a median.
"""

import asyncio
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import structlog

from api.database import Database, open_database
from api.dispatch import ledger
from api.dispatch.broker import Broker
from api.dispatch.dispatcher import Dispatcher
from api.queues.repository import count_by_project
from api.settings import ApiSettings
from contracts.ledger.classes import PriorityClass
from contracts.ledger.fair_share import Allocation
from contracts.ledger.queries import WAITING_TIMES
from contracts.names import Queue
from tests.support.servers import FAST_OPTIONS, Servers, migrate, start_local_servers

PROJECTS = (1, 100, 10_000)
REPETITIONS = 5
SLOTS = 8
TICK_S = 0.001
_FILL = """
INSERT INTO job (id, task, queue, message, project, priority_class, run_at)
SELECT gen_random_uuid(), 'app.tasks.issues.enrich_issue', 'issues', jsonb_build_object(
    'contract_version', '1.1.0', 'job_id', gen_random_uuid(), 'issue_id', gen_random_uuid()
), 'project-' || mod(n, {projects}), mod(n / {projects}, 4), now() - interval '1 min'
FROM generate_series(1, {jobs}) AS n
"""


def main() -> None:
    """Measure each number of due jobs that the command line gives."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as directory:
        servers = start_local_servers(Path(directory), FAST_OPTIONS)
        try:
            migrate(servers)
            print("jobs projects lanes  search_ms claim_ms waiting_times_ms by_project_ms blocked_ms")
            for jobs in map(int, sys.argv[1:] or ["10000"]):
                for projects in PROJECTS:
                    _fill(servers, jobs, projects)
                    print(jobs, projects, asyncio.run(_measure(servers)), flush=True)
        finally:
            servers.close()


def _fill(servers: Servers, jobs: int, projects: int) -> None:
    with servers.superuser() as cursor:
        cursor.execute("TRUNCATE job CASCADE")
        cursor.execute(_FILL.format(jobs=jobs, projects=projects))
        cursor.execute("VACUUM ANALYZE job")


async def _measure(servers: Servers) -> str:
    settings = ApiSettings(
        database_url=servers.database_url, celery_broker_url=servers.env["CELERY_BROKER_URL"], queue_bound=SLOTS
    )
    async with open_database(settings) as database, Broker(settings.celery_broker_url) as broker:
        lanes, _ = await ledger.find_lanes(database, Queue.ISSUES, dict.fromkeys(PriorityClass, ("", "")))
        search = await _median_ms(
            lambda: ledger.find_lanes(database, Queue.ISSUES, dict.fromkeys(PriorityClass, ("", "")))
        )
        projects = await _median_ms(lambda: count_by_project(database))
        waiting = await _median_ms(lambda: database.fetch(*WAITING_TIMES.bind(queues=list(Queue), at_limit=[])))
        claim = await _median_ms(lambda: _claim(database, [Allocation(lane, 1) for lane in lanes[:SLOTS]]))
        blocked = await _measure_blocked(database, broker, settings)
    return f"{len(lanes):6} {search:9.1f} {claim:8.1f} {waiting:8.1f} {projects:8.1f} {blocked:8.1f}"


async def _claim(database: Database, allocations: list[Allocation]) -> None:
    jobs, _ = await ledger.claim_due(database, Queue.ISSUES, allocations, timedelta(hours=1))
    await ledger.requeue(database, [job.id for job in jobs])


async def _measure_blocked(database: Database, broker: Broker, settings: ApiSettings) -> float:
    """Return the median, over first passes of dispatchers, of the longest time between two ticks."""
    longest = []
    for _ in range(REPETITIONS):
        async with _watched() as gaps:
            await Dispatcher(database, broker, settings).publish_due()
        longest.append(max(gaps))
        await broker.query(lambda redis: redis.delete(*Queue))
    return statistics.median(longest) * 1000


@asynccontextmanager
async def _watched() -> AsyncIterator[list[float]]:
    gaps = [0.0]

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK_S)
            gaps.append((now := time.perf_counter()) - last - TICK_S)
            last = now

    ticking = asyncio.create_task(tick())
    try:
        yield gaps
    finally:
        ticking.cancel()


async def _median_ms(run: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        await run()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


if __name__ == "__main__":
    main()
