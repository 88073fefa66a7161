"""Dramatiq with its results middleware."""

from __future__ import annotations

import os
import sys

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
broker = RedisBroker(url=URL)
RESULTS = URL.removesuffix("/0") + "/1"  # a database of their own: the keys are hashes that tell nothing
broker.add_middleware(Results(backend=RedisBackend(url=RESULTS)))
dramatiq.set_broker(broker)
WORKERS = [
    [sys.executable, "-m", "dramatiq", "bench.alone.dramatiq_alone", "--processes", "2", "--threads", "8"],
]


@dramatiq.actor(store_results=True)
def noop() -> int:
    """Do nothing."""
    return 1


def fill(url: str, jobs: int) -> None:
    """Enqueue jobs."""
    for _ in range(jobs):
        noop.send()


def done(url: str, jobs: int) -> int:
    """Count the results."""
    return int(redis.Redis.from_url(RESULTS).dbsize())
