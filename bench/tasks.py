"""The jobs that are measured."""

from __future__ import annotations

import asyncio
import os
import random
import time

from faena import Context, Faena

app = Faena("bench")


@app.task(max_retries=0)
async def noop() -> None:
    """Do nothing: what remains is Faena."""


@app.task(max_retries=0)
async def stamp() -> int:
    """Return the moment of the start, in nanoseconds of the clock that all processes share."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


@app.task(max_retries=0)
async def nap(seconds: float) -> None:
    """Take some time without using the processor."""
    await asyncio.sleep(seconds)


@app.task(max_retries=5, min_backoff=0.1, max_backoff=0.2)
def trace(ctx: Context, number: int, folder: str, longest: float = 0.02) -> str:
    """Work for up to ``longest`` seconds, a quarter of it at least, and leave a line for the start and one for the end
    outside the store: one file a process, written with one system call each, so that a kill can't tear a line. Returns
    which run this was."""
    run = f"{os.getpid()}-{time.monotonic_ns()}"
    leave_line(folder, f"start {ctx.job_id} {run}")
    ctx.emit("ran", {"run": run})
    ctx.progress(50)
    time.sleep(random.uniform(longest / 4, longest))
    leave_line(folder, f"end {ctx.job_id} {run}")
    return run


def leave_line(folder: str, text: str) -> None:
    """Append a line to this process's file, with one system call."""
    path = os.path.join(folder, f"{os.getpid()}.log")
    handle = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.write(handle, f"{text}\n".encode())
    finally:
        os.close(handle)
