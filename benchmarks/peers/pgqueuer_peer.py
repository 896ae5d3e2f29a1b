"""pgqueuer on PostgreSQL: its batches of ten, heartbeats of thirty seconds."""

import asyncio
from collections.abc import Sequence

import asyncpg
from pgqueuer import AsyncpgPoolDriver, Job, PgQueuer
from pgqueuer.queries import Queries

from benchmarks.peers import rows

COMMAND = ("python", "-m", "benchmarks.peers.pgqueuer_peer")


async def main() -> None:
    """Run as `pgq run` does, which version 1.6.0 cannot with the current typer."""
    async with asyncpg.create_pool(rows.DATABASE_URL, min_size=2) as pool:
        queuer = PgQueuer(AsyncpgPoolDriver(pool))

        @queuer.entrypoint("work")
        async def work(job: Job) -> None:
            assert job.payload is not None
            await rows.work_async(int(job.payload))

        await queuer.run()


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


if __name__ == "__main__":
    asyncio.run(main())
