"""Milliseconds: from enqueue to start on an idle worker, and of ``POST /jobs`` beside a busy one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.harness import PATIENCE, app_in, environment, scratch, worker
from faena.task import JobRequest
from faena.testing.servers import RedisServer

SETTLE = 0.25
"""Seconds between two idle jobs, with some chance in it: no rhythm of the worker's own may help."""


LONG_REST = 2.0


def milliseconds(samples: list[float]) -> dict[str, float]:
    """Describe samples, given in seconds."""
    ordered = sorted(sample * 1000 for sample in samples)
    return {
        "median_ms": statistics.median(ordered),
        "p95_ms": ordered[int(len(ordered) * 0.95)],
        "max_ms": ordered[-1],
    }


async def _idle_starts(
    folder: Path, *, engine: str, samples: int, redis: str | None, rest: float
) -> list[float]:
    app = app_in(folder, engine=engine, redis=redis)
    waits = []
    async with app.connect() as client:
        for number in range(samples + 3):
            await asyncio.sleep(rest + random.uniform(0, 0.1))
            asked = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            inserted = await client.enqueue(JobRequest(task="stamp"))
            job = await client.wait(inserted.job.id, timeout=30)
            if number >= 3:  # the first ones wait for the worker's start
                waits.append((json.loads(job.result or b"0") - asked) / 1e9)
    return waits


def idle_start(
    engine: str, *, samples: int, on_redis: bool = False, rest: float = SETTLE
) -> dict[str, float]:
    """From the call of enqueue in one process to the function's first line in another, idle, one; ``rest``: seconds
    between two jobs, with some chance in it."""
    with scratch() as folder, contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder)).url if on_redis else None
        stack.enter_context(worker(folder, engine=engine, threads=8, redis=redis))
        starts = _idle_starts(folder, engine=engine, samples=samples, redis=redis, rest=rest)
        return milliseconds(asyncio.run(starts))


_ONE_PROCESS = """
import asyncio, sys, random, time, json
from pathlib import Path
from bench.harness import app_in
from bench.latency import SETTLE
from faena.task import JobRequest
from faena.wiring import make_store, make_engine, select
from faena.client import Client
from faena.worker import Worker, WorkerOptions

async def main(folder, engine_name, samples):
    app = app_in(Path(folder), engine=engine_name)
    settings = app.settings
    selection = select(settings)
    store, engine = make_store(settings, selection), make_engine(settings, selection)
    await store.open()
    worker = Worker(tasks=app.tasks, store=store, engine=engine, connect=lambda: make_store(settings, selection),
                    options=WorkerOptions(queues=("default",), threads=8), settings=settings, app_ref=None)
    running = asyncio.create_task(worker.run())
    client = Client(store, engine, app.tasks)
    waits = []
    for number in range(samples + 3):
        await asyncio.sleep(SETTLE + random.uniform(0, 0.1))
        asked = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        inserted = await client.enqueue(JobRequest(task="stamp"))
        job = await client.wait(inserted.job.id, timeout=30)
        if number >= 3:
            waits.append((json.loads(job.result) - asked) / 1e9)
    worker.stop()
    await running
    await client.close()
    await store.close()
    print(json.dumps(waits))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def one_process(engine: str, *, samples: int) -> dict[str, float]:
    """The same with client and worker in one process, as `faena up` runs them."""
    with scratch() as folder:
        command = [sys.executable, "-c", _ONE_PROCESS, str(folder), engine, str(samples)]
        out = subprocess.run(
            command, env=environment(), check=True, capture_output=True, text=True, timeout=PATIENCE
        )
    return milliseconds(json.loads(out.stdout.splitlines()[-1]))


@contextlib.contextmanager
def server(folder: Path, *, engine: str, app: str | None = "bench.tasks:app") -> Iterator[tuple[str, int]]:
    """`faena up` for as long as the block lasts (without an app: the shipped packs); gives address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--data-dir", str(folder), "--store", "sqlite", "--engine", engine]
    options += [] if app is None else ["--app", app]
    command = [sys.executable, "-m", "faena", "up", *options, "--port", str(port), "--threads", "8"]
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        give_up = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{address}/health").status_code == 200:
                    break
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError((folder / "server.log").read_text())
            time.sleep(0.05)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(60)


def post(engine: str, *, samples: int) -> dict[str, float]:
    """``POST /jobs`` until its 202, one after the other, while the worker of the same process has all hands full."""
    waits = []
    with (
        scratch() as folder,
        server(folder, engine=engine) as (address, _),
        httpx.Client(base_url=address) as client,
    ):
        for _ in range(200):
            client.post("/jobs", json={"task": "nap", "args": {"seconds": 0.05}}).raise_for_status()
        for _ in range(samples):
            started = time.perf_counter()
            answer = client.post("/jobs", json={"task": "nap", "args": {"seconds": 0.05}})
            waits.append(time.perf_counter() - started)
            assert answer.status_code == 202, answer.text
    return milliseconds(waits)


def main(*, quick: bool = False) -> dict[str, object]:
    """Measure all of it."""
    samples = 15 if quick else 60
    on_redis = {
        f"idle_start_{engine}_on_redis{told}": idle_start(
            engine, samples=max(5, samples // few), on_redis=True, rest=rest
        )
        for engine in ("direct", "huey", "dramatiq")
        for told, rest, few in (("", SETTLE, 1), ("_after_2_s", LONG_REST, 4))
    }
    return {
        "idle_start_direct_one_process": one_process("direct", samples=samples),
        "idle_start_huey_one_process": one_process("huey", samples=samples),
        "idle_start_direct_two_processes": idle_start("direct", samples=samples),
        "idle_start_huey_two_processes": idle_start("huey", samples=samples),
        **on_redis,
        "post_jobs_direct_busy": post("direct", samples=samples * 10),
        "post_jobs_huey_busy": post("huey", samples=samples * 10),
        "processors": os.cpu_count(),
    }
