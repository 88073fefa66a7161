"""Celery with a Redis result backend, threads pool."""

from __future__ import annotations

import os
import sys

import redis
from celery import Celery

URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
app = Celery("alone", broker=URL, backend=URL)
app.conf.update(broker_connection_retry_on_startup=True, task_serializer="json", result_serializer="json")
QUIET = ["--loglevel", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
WORKERS = [
    [
        *[sys.executable, "-m", "celery", "-A", "bench.alone.celery_alone", "worker", "--pool=threads"],
        *["--concurrency", "8", "-n", f"{name}@%h", *QUIET],
    ]
    for name in ("one", "two")
]


@app.task
def noop() -> int:
    """Do nothing."""
    return 1


def fill(url: str, jobs: int) -> None:
    """Enqueue jobs."""
    for _ in range(jobs):
        noop.delay()


def done(url: str, jobs: int) -> int:
    """Count the results."""
    return sum(1 for _ in redis.Redis.from_url(url).scan_iter("celery-task-meta-*", count=5000))
