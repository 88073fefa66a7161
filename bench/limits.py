"""What limits and uniqueness cost: a task under a rate, a limit of how many at once and a key, all too generous to stop
anybody, beside a task with none of them. In turns, on both stores, `direct`."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.engines import running
from bench.harness import app_in, scratch, worker_command
from bench.watching import rate
from faena.job import Status
from faena.task import JobRequest
from faena.testing.servers import RedisServer

MODULE = "bench.limited_tasks"
KINDS = ("plain", "limited", "rated", "crowded", "keyed")
"""``limited`` is under all three; the others show which of them costs what."""
CHUNK = 5_000
SLOTS = 200


async def once(kind: str, folder: Path, *, jobs: int, redis: str | None) -> dict[str, float]:
    """Enqueue no-op jobs in bulk, then let one process finish them."""
    store = "sqlite" if redis is None else "redis"
    command = worker_command(folder, engine="direct", threads=SLOTS, store=store, module=MODULE)
    app = app_in(folder, engine="direct", redis=redis, module=MODULE)
    variables = {} if redis is None else {"REDIS_URL": redis}
    async with app.connect() as client:
        started = time.perf_counter()
        for start in range(0, jobs, CHUNK):
            numbers = range(start, min(start + CHUNK, jobs))
            await client.enqueue_many(JobRequest(task=kind, args={"tenant": number}) for number in numbers)
        enqueued = jobs / (time.perf_counter() - started)
        loop = asyncio.get_running_loop()

        def done() -> int:
            counts = asyncio.run_coroutine_threadsafe(client.store.counts(), loop).result()
            return sum(count.count for count in counts if count.status is Status.COMPLETED)

        with running([command], folder, **variables):
            finished = await asyncio.to_thread(rate, done, jobs)
    return {"enqueued_per_s": enqueued, "finished_per_s": finished}


def on(store: str, *, jobs: int, rounds: int) -> dict[str, object]:
    """Measure all kinds in turns; the medians, and each as a part of the plain one."""
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            with scratch() as folder, ExitStack() as stack:
                redis = stack.enter_context(RedisServer(folder)).url if store == "redis" else None
                found[kind].append(asyncio.run(once(kind, folder, jobs=jobs, redis=redis)))
    figures: dict[str, object] = {}
    for kind in KINDS:
        figures[kind] = {key: median(found[kind], key) for key in ("enqueued_per_s", "finished_per_s")} | {
            f"{key}_to_plain": median(found[kind], f"{key}_per_s") / median(found["plain"], f"{key}_per_s")
            for key in ("enqueued", "finished")
        }
    return figures


def median(runs: Sequence[dict[str, float]], key: str) -> float:
    """Return the median of a figure."""
    return statistics.median(run[key] for run in runs)


def main(*, quick: bool = False) -> dict[str, object]:
    """Measure on both stores."""
    jobs, rounds = (4_000, 1) if quick else (30_000, 3)
    return {store: on(store, jobs=jobs, rounds=rounds) for store in ("sqlite", "redis")}
