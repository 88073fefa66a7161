"""streaQ with results kept for an hour; 200 at once a process, enqueued in bulk, uvloop."""

from __future__ import annotations

import asyncio
import os

import redis
from streaq import Worker

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
WORKERS = [["-m", "streaq", "run", "bench.peer.streaq_peer:worker", "--workers", "2"]]

worker = Worker(redis_url=URL, concurrency=200, anyio_kwargs={"use_uvloop": True})


@worker.task(ttl=3600)
async def noop() -> int:
    """Do nothing."""
    return 1


def fill(jobs: int) -> None:
    """Enqueue jobs, a thousand in one pipeline."""

    async def enqueue() -> None:
        async with worker:
            for start in range(0, jobs, 1000):
                await worker.enqueue_many([noop.enqueue() for _ in range(min(1000, jobs - start))])

    asyncio.run(enqueue())


def done(jobs: int) -> int:
    """Count the results."""
    return int(redis.Redis.from_url(URL).zcard("streaq:default:index:results"))
