"""taskiq with its Redis stream broker and its Redis results, for an hour; 200 at once a process, uvloop, hiredis."""

from __future__ import annotations

import asyncio
import os

import redis
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
RESULTS = URL.removesuffix("/0") + "/1"
WORKERS = [
    [
        *("-m", "taskiq", "worker", "bench.peer.taskiq_peer:broker", "--workers", "2"),
        *("--max-async-tasks", "200", "--log-level", "ERROR"),
    ]
]

backend: RedisAsyncResultBackend[int] = RedisAsyncResultBackend(RESULTS, result_ex_time=3600)
broker = RedisStreamBroker(URL).with_result_backend(backend)


@broker.task
async def noop() -> int:
    """Do nothing."""
    return 1


def fill(jobs: int) -> None:
    """Enqueue jobs, as many calls under way at once as its pool has connections."""

    async def enqueue() -> None:
        await broker.startup()
        for start in range(0, jobs, 50):
            await asyncio.gather(*(noop.kiq() for _ in range(min(50, jobs - start))))
        await broker.shutdown()

    asyncio.run(enqueue())


def done(jobs: int) -> int:
    """Count the results."""
    return int(redis.Redis.from_url(RESULTS).dbsize())
