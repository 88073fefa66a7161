"""RQ with results, two workers that do not fork (its quicker kind)."""

from __future__ import annotations

import os
import sys

import redis
from rq import Queue

URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
COMMAND = [
    "-m",
    "rq.cli",
    "worker",
    "alone",
    "--url",
    URL,
    "--worker-class",
    "rq.worker.SimpleWorker",
    "--quiet",
]
WORKERS = [[sys.executable, *COMMAND]] * 2


def noop() -> int:
    """Do nothing."""
    return 1


def fill(url: str, jobs: int) -> None:
    """Enqueue jobs."""
    queue = Queue("alone", connection=redis.Redis.from_url(url))
    for _ in range(jobs):
        queue.enqueue("bench.alone.rq_alone.noop")


def done(url: str, jobs: int) -> int:
    """Count the finished jobs."""
    return int(redis.Redis.from_url(url).zcard("rq:finished:alone"))
