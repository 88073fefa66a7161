"""Huey on Redis with results."""

from __future__ import annotations

import os
import sys

import redis
from huey import PriorityRedisHuey

URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
huey = PriorityRedisHuey("alone", url=URL, results=True, store_none=True)
WORKERS = [
    [sys.executable, "-m", "huey.bin.huey_consumer", "bench.alone.huey_alone.huey", "-w", "8", "-n"]
] * 2


@huey.task()
def noop() -> int:
    """Do nothing."""
    return 1


def fill(url: str, jobs: int) -> None:
    """Enqueue jobs."""
    for _ in range(jobs):
        noop()


def done(url: str, jobs: int) -> int:
    """Count the results."""
    return int(redis.Redis.from_url(url).hlen("huey.results.alone"))
