"""ARQ with results kept."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import redis
from arq import create_pool
from arq.connections import RedisSettings

URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
WORKERS = [[sys.executable, "-W", "ignore", "-m", "arq", "bench.alone.arq_alone.WorkerSettings"]] * 2


async def noop(ctx: dict[str, Any]) -> int:
    """Do nothing."""
    return 1


class WorkerSettings:
    """What ``arq`` is pointed at: its own defaults, but for polling (0.5 s would be its idle latency)."""

    functions = (noop,)
    redis_settings = RedisSettings.from_dsn(URL)
    poll_delay = 0.01
    max_jobs = 8


def fill(url: str, jobs: int) -> None:
    """Enqueue jobs."""

    async def enqueue() -> None:
        pool = await create_pool(RedisSettings.from_dsn(url))
        for _ in range(jobs):
            await pool.enqueue_job("noop")
        await pool.aclose()

    asyncio.run(enqueue())


def done(url: str, jobs: int) -> int:
    """Count what has left the queue."""
    return jobs - int(redis.Redis.from_url(url).zcard("arq:queue"))
