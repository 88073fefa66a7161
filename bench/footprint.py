"""What Faena costs when it does nothing: the import, and an idle worker on each engine."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time

import psutil

from bench.engines import ENGINES
from bench.harness import app_in, environment, scratch, wait_until, worker
from faena.testing.servers import RedisServer

IMPORT = "import time; t = time.perf_counter(); import faena; print(time.perf_counter() - t)"


def import_time(*, samples: int) -> dict[str, float]:
    """``import faena`` in a fresh interpreter, the files in the system's cache."""
    times = []
    for _ in range(samples):
        out = subprocess.run(
            [sys.executable, "-c", IMPORT], env=environment(), check=True, capture_output=True, text=True
        )
        times.append(float(out.stdout) * 1000)
    return {"median_ms": statistics.median(times), "max_ms": max(times)}


def idle_worker(engine: str, *, seconds: float, on_redis: bool) -> dict[str, float]:
    """Resident memory and processor time of a worker that waits, after it has run a job."""
    with scratch() as folder, contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder)).url if on_redis else None
        process = stack.enter_context(worker(folder, engine=engine, threads=8, redis=redis))
        app = app_in(folder, engine=engine, redis=redis)
        app.tasks["noop"].enqueue().wait(timeout=30)
        app.close()
        seen = psutil.Process(process.pid)
        wait_until(lambda: seen.cpu_percent(0.5) < 20)
        before = seen.cpu_times()
        time.sleep(seconds)
        after = seen.cpu_times()
        family = [seen, *seen.children(recursive=True)]
        return {
            "rss_mb": sum(each.memory_info().rss for each in family) / 1e6,
            "processes": len(family),
            "cpu_percent": (after.user + after.system - before.user - before.system) / seconds * 100,
        }


def main(*, quick: bool = False) -> dict[str, object]:
    """Measure all of it."""
    seconds = 3.0 if quick else 20.0
    figures: dict[str, object] = {"import": import_time(samples=5 if quick else 15)}
    for engine, on_redis in [*((engine, True) for engine in ENGINES), ("direct", False), ("huey", False)]:
        name = f"{engine}_on_{'redis' if on_redis else 'sqlite'}"
        figures[name] = {"idle": idle_worker(engine, seconds=seconds, on_redis=on_redis)}
    return figures
