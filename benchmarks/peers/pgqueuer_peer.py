"""pgqueuer on PostgreSQL: batches of ten, heartbeats of 30 seconds."""

import asyncio
from collections.abc import Sequence

import asyncpg
from pgqueuer import AsyncpgPoolDriver, Job, PgQueuer
from pgqueuer.queries import Queries

from benchmarks.peers import rows

COMMAND = ("python", "-m", "benchmarks.peers.pgqueuer_peer")


async def main() -> None:
    """Run as `pgq run` does, which fails in version 1.6.0 with the current typer."""
    async with asyncpg.create_pool(rows.DATABASE_URL, min_size=2) as pool:
        queuer = PgQueuer(AsyncpgPoolDriver(pool))

        @queuer.entrypoint("work")
        async def work(job: Job) -> None:
            assert job.payload is not None
            await rows.work_async(pool, int(job.payload))

        await queuer.run()


async def _install() -> None:
    async with asyncpg.create_pool(rows.DATABASE_URL) as pool:
        await Queries(AsyncpgPoolDriver(pool)).install()


async def _enqueue(ids: Sequence[int]) -> None:
    async with asyncpg.create_pool(rows.DATABASE_URL) as pool:
        payloads = [str(item_id).encode() for item_id in ids]
        await Queries(AsyncpgPoolDriver(pool)).enqueue(["work"] * len(ids), payloads, [0] * len(ids))


def prepare() -> None:
    """Create its tables."""
    asyncio.run(_install())


def enqueue(ids: Sequence[int]) -> None:
    """Queue a job for each row."""
    asyncio.run(_enqueue(ids))


if __name__ == "__main__":
    asyncio.run(main())
