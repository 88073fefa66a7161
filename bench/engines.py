"""Faena on each engine beside that engine alone: tracked no-op jobs, two worker processes of eight threads, one Redis.

Both sides are measured alike: the jobs are enqueued, then the workers are started, and the rate is that from the first
hundredth of the jobs that is seen done to the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis

from bench.harness import ROOT, app_in, environment, scratch, worker_command
from bench.watching import rate
from faena import Faena
from faena.job import Status
from faena.task import JobRequest
from faena.testing.servers import RedisServer

ENGINES = ("direct", "huey", "dramatiq", "celery", "rq", "arq")
JOBS = {"direct": 50_000, "huey": 40_000, "dramatiq": 20_000}
FEWER = 5_000
"""Enough for seconds, not for the moment in which one worker has begun and the other has not."""
THREADS = 8
PROCESSES = 2


@contextlib.contextmanager
def running(
    commands: Sequence[Sequence[str]], folder: Path, *, patience: float = 20.0, **variables: str
) -> Iterator[None]:
    """Worker processes for as long as the block lasts; each in a group of its own, which ends with it."""
    env = environment() | {"PYTHONPATH": str(ROOT)} | variables
    with open(folder / "workers.log", "ab") as log:
        started = [
            subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)
            for command in commands
        ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()


def alone(engine: str, url: str, folder: Path, *, jobs: int) -> dict[str, float]:
    """Measure an engine without Faena."""
    redis.Redis.from_url(url).flushall()
    os.environ["BENCH_REDIS"] = url
    module = importlib.reload(importlib.import_module(f"bench.alone.{engine}_alone"))
    started = time.perf_counter()
    module.fill(url, jobs)
    enqueued = jobs / (time.perf_counter() - started)
    with running(module.WORKERS, folder, BENCH_REDIS=url):
        return {"enqueued_per_s": enqueued, "finished_per_s": rate(lambda: module.done(url, jobs), jobs)}


def with_faena(engine: str, url: str, folder: Path, *, jobs: int, threads: int = THREADS) -> dict[str, float]:
    """Measure Faena on an engine, with its Redis store."""
    redis.Redis.from_url(url).flushall()
    command = worker_command(folder, engine=engine, threads=threads, processes=PROCESSES, store="redis")
    return asyncio.run(_with_faena(app_in(folder, engine=engine, redis=url), command, url, folder, jobs=jobs))


async def _with_faena(
    app: Faena, command: Sequence[str], url: str, folder: Path, *, jobs: int
) -> dict[str, float]:
    async with app.connect() as client:
        started = time.perf_counter()
        for start in range(0, jobs, 5000):
            await client.enqueue_many(JobRequest(task="noop") for _ in range(min(5000, jobs - start)))
        enqueued = jobs / (time.perf_counter() - started)
        loop = asyncio.get_running_loop()

        def done() -> int:
            counts = asyncio.run_coroutine_threadsafe(client.store.counts(), loop).result()
            return sum(count.count for count in counts if count.status is Status.COMPLETED)

        with running([command], folder, REDIS_URL=url):
            finished = await asyncio.to_thread(rate, done, jobs)
    return {"enqueued_per_s": enqueued, "finished_per_s": finished}


def main(*, quick: bool = False) -> dict[str, object]:
    """Measure every engine, with Faena and alone, in turns, three times; the medians count. Quick: once."""
    runs: dict[str, list[dict[str, dict[str, float]]]] = {engine: [] for engine in ENGINES}
    with scratch() as folder, RedisServer(folder) as server:
        for _ in range(1 if quick else 3):
            for engine in ENGINES:
                jobs = JOBS.get(engine, FEWER) // (5 if quick else 1)
                threads = 200 if engine == "direct" else THREADS
                run = {"faena": with_faena(engine, server.url, folder, jobs=jobs, threads=threads)}
                if engine != "direct":
                    run["alone"] = alone(engine, server.url, folder, jobs=jobs)
                runs[engine].append(run)
    return {engine: _medians(found) for engine, found in runs.items()}


def _medians(runs: Sequence[dict[str, dict[str, float]]]) -> dict[str, object]:
    """The medians of each figure, and of the ratios of the runs: those of one run were measured one after the other."""
    told: dict[str, object] = {
        side: {key: statistics.median(run[side][key] for run in runs) for key in figures}
        for side, figures in runs[0].items()
    }
    if "alone" in runs[0]:
        ratios = [run["faena"]["finished_per_s"] / run["alone"]["finished_per_s"] for run in runs]
        told |= {"ratio": statistics.median(ratios), "ratios": sorted(ratios)}
    return told
