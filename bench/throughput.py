"""Jobs per second: no-op jobs, each with its status, events and result kept, one worker process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from bench.harness import app_in, counted, environment, reading, scratch, wait_until, worker
from faena.task import JobRequest

COMPLETED = 3
CHUNK = 10_000


async def fill(folder: Path, *, engine: str, jobs: int) -> float:
    """Enqueue no-op jobs in bulk, as `enqueue_many` does; returns the jobs per second."""
    app = app_in(folder, engine=engine)
    async with app.connect() as client:
        started = time.perf_counter()
        for start in range(0, jobs, CHUNK):
            await client.enqueue_many(JobRequest(task="noop") for _ in range(min(CHUNK, jobs - start)))
        return jobs / (time.perf_counter() - started)


def drain(folder: Path, *, engine: str, threads: int, jobs: int) -> float:
    """Let one worker process finish ``jobs`` of those that wait; returns the jobs per second, by the store's times,
    between the hundredth of the jobs that finished first and the last (a worker's start is measured elsewhere)."""
    with worker(folder, engine=engine, threads=threads), reading(folder) as connection:
        wait_until(lambda: counted(connection, COMPLETED) >= jobs)
    with reading(folder) as connection:
        times = "SELECT finished_at FROM jobs WHERE status = 3 ORDER BY finished_at LIMIT ?"
        ends = [row[0] for row in connection.execute(times, (jobs,))]
    skipped = len(ends) // 100
    return (len(ends) - skipped) / (ends[-1] - ends[skipped])


def faena_on(engine: str, *, jobs: int, threads: int, waiting: int = 0) -> dict[str, float]:
    """Enqueue and finish no-op jobs on an engine, with ``waiting`` more jobs in the queue behind them."""
    with scratch() as folder:
        enqueued = asyncio.run(fill(folder, engine=engine, jobs=jobs + waiting))
        finished = drain(folder, engine=engine, threads=threads, jobs=jobs)
    return {"enqueued_per_s": enqueued, "finished_per_s": finished}


RAW_HUEY = """
import sys, threading, time
from huey import SqliteHuey
from huey.consumer import Consumer

class Quiet(Consumer):
    def _set_signal_handlers(self): pass

path, jobs, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
huey = SqliteHuey("raw", filename=path, results=True, timeout=10, store_none=True)
@huey.task()
def noop(): return None
started = time.perf_counter()
handles = [noop() for _ in range(jobs)]
enqueued = jobs / (time.perf_counter() - started)
consumer = Quiet(huey, workers=threads, periodic=False, initial_delay=0.02, max_delay=0.02)
thread = threading.Thread(target=consumer.run, daemon=True)
started = time.perf_counter()
thread.start()
while huey.result_count() < jobs:
    time.sleep(0.01)
print(enqueued, jobs / (time.perf_counter() - started))
consumer.stop(graceful=True)
"""


def raw_huey(*, jobs: int, threads: int) -> dict[str, float]:
    """Huey alone on SQLite (its default settings: results kept, ``synchronous`` as it ships), the same jobs."""
    with scratch() as folder:
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            RAW_HUEY,
            str(folder / "huey.db"),
            str(jobs),
            str(threads),
        ]
        out = subprocess.run(
            command, env=environment(), check=True, capture_output=True, text=True, timeout=600
        )
    enqueued, finished = map(float, out.stdout.split())
    return {"enqueued_per_s": enqueued, "finished_per_s": finished}


def main(*, quick: bool = False) -> dict[str, object]:
    """Measure and compare, all in one run."""
    scale = 5 if quick else 1
    direct = faena_on("direct", jobs=50_000 // scale, threads=200)
    million = faena_on("direct", jobs=50_000 // scale, threads=200, waiting=1_000_000 // scale**2)
    huey = faena_on("huey", jobs=5_000 // scale, threads=8)
    raw = raw_huey(jobs=5_000 // scale, threads=8)
    return {
        "direct": direct,
        "direct_behind_a_million": million,
        "huey": huey,
        "huey_alone": raw,
        "ratio_million_to_direct": million["finished_per_s"] / direct["finished_per_s"],
        "ratio_huey_to_huey_alone": huey["finished_per_s"] / raw["finished_per_s"],
    }
