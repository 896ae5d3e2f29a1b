"""procrastinate on PostgreSQL: ten jobs at once, and the periodic task for stalled jobs that its manual shows."""

import asyncio
from collections.abc import Sequence

from procrastinate import App, PsycopgConnector

from benchmarks.peers import rows

COMMAND = ("procrastinate", "--app", "benchmarks.peers.procrastinate_peer.app", "worker", "--concurrency", "10")

app = App(connector=PsycopgConnector(conninfo=rows.DATABASE_URL))


@app.task(queue="bench", retry=3)
async def work(item_id: int) -> None:
    """Do the work of one row."""
    await rows.work_async(item_id)


@app.periodic(cron="*/10 * * * * *")
@app.task(queueing_lock="retry_stalled_jobs", pass_context=True)
async def retry_stalled_jobs(_context: object, _timestamp: int) -> None:
    """Take up the jobs of workers whose heart has stopped."""
    for job in await app.job_manager.get_stalled_jobs():
        await app.job_manager.retry_job(job)


def prepare() -> None:
    """Make its tables."""
    with app.open():
        app.schema_manager.apply_schema()


def hand_over(ids: Sequence[int]) -> None:
    """Defer a job for each row."""

    async def defer() -> None:
        async with app.open_async():
            await work.batch_defer_async(*({"item_id": item_id} for item_id in ids))

    asyncio.run(defer())
