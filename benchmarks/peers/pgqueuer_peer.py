"""pgqueuer on PostgreSQL: its batches of ten, heartbeats of thirty seconds."""

import asyncio
from collections.abc import Sequence

import asyncpg
from pgqueuer import AsyncpgPoolDriver, Job, PgQueuer
from pgqueuer.queries import Queries

from benchmarks.peers import rows

COMMAND = ("pgq", "run", "benchmarks.peers.pgqueuer_peer:main")


async def main() -> PgQueuer:
    """Return what `pgq run` runs."""
    queuer = PgQueuer(AsyncpgPoolDriver(await asyncpg.create_pool(rows.DATABASE_URL, min_size=2)))

    @queuer.entrypoint("work")
    async def work(job: Job) -> None:
        assert job.payload is not None
        await rows.work_async(int(job.payload))

    return queuer


def prepare() -> None:
    """Make its tables."""

    async def install() -> None:
        async with asyncpg.create_pool(rows.DATABASE_URL) as pool:
            await Queries(AsyncpgPoolDriver(pool)).install()

    asyncio.run(install())


def hand_over(ids: Sequence[int]) -> None:
    """Enqueue a job for each row."""

    async def enqueue() -> None:
        async with asyncpg.create_pool(rows.DATABASE_URL) as pool:
            payloads = [str(item_id).encode() for item_id in ids]
            await Queries(AsyncpgPoolDriver(pool)).enqueue(["work"] * len(ids), payloads, [0] * len(ids))

    asyncio.run(enqueue())
