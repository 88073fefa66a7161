"""SAQ: its jobs keep status and result by themselves; 100 at once a process, enqueued many at a time, hiredis."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import redis
from saq import Queue

URL = os.environ.get("BENCH_URL", "redis://127.0.0.1:6379/0")
WORKERS = [["-m", "saq", "bench.peer.saq_peer.settings", "--workers", "2"]]
AT_ONCE = 100


async def noop(ctx: dict[str, Any]) -> int:
    """Do nothing."""
    return 1


queue = Queue.from_url(URL, max_concurrent_ops=AT_ONCE)
settings = {"queue": queue, "functions": [noop], "concurrency": AT_ONCE}


def fill(jobs: int) -> None:
    """Enqueue jobs, a thousand calls under way at once."""

    async def enqueue() -> None:
        for start in range(0, jobs, 1000):
            await asyncio.gather(*(queue.enqueue("noop") for _ in range(min(1000, jobs - start))))
        await queue.disconnect()

    asyncio.run(enqueue())


def done(jobs: int) -> int:
    """Count what is no longer incomplete."""
    return jobs - int(redis.Redis.from_url(URL).zcard("saq:default:incomplete"))
