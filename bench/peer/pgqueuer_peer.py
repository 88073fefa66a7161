"""PgQueuer with its log of statuses, in tables as they ship; batches of 100, asyncpg, uvloop."""

from __future__ import annotations

import asyncio
import os

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

URL = os.environ.get("BENCH_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
PREPARE = ["-m", "pgqueuer", "--pg-dsn", URL, "install"]
WORKERS = [["-m", "bench.peer.pgqueuer_peer"]] * 2
"""Not its ``pgq run``: that fails with the typer of these versions."""


async def make() -> PgQueuer:
    """Make a worker."""
    queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))

    @queue.entrypoint("noop")
    async def noop(job: Job) -> None:
        """Do nothing."""

    return queue


def fill(jobs: int) -> None:
    """Enqueue jobs, a thousand in one statement."""

    async def enqueue() -> None:
        connection = await asyncpg.connect(URL)
        queries = Queries(AsyncpgDriver(connection))
        for start in range(0, jobs, 1000):
            size = min(1000, jobs - start)
            await queries.enqueue(["noop"] * size, [None] * size, [0] * size)
        await connection.close()

    asyncio.run(enqueue())


def done(jobs: int) -> int:
    """Count what has left the queue."""

    async def count() -> int:
        connection = await asyncpg.connect(URL)
        try:
            return jobs - int(await connection.fetchval("SELECT count(*) FROM pgqueuer"))
        finally:
            await connection.close()

    return asyncio.run(count())


async def work() -> None:
    """Work until killed."""
    await (await make()).run(batch_size=100)


if __name__ == "__main__":
    uvloop.run(work())
