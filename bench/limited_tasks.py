"""Tasks under limits: as generous as needed to measure what they cost, or tight to prove that they hold."""

from __future__ import annotations

import time

from bench.tasks import leave_line
from faena import Context, Faena
from faena.rates import AtOnce

app = Faena("bench limits")

STARTS = 10
AT_ONCE = 3


@app.task(max_retries=0)
async def plain(tenant: int) -> None:
    """Do nothing, under no limit."""


@app.task(max_retries=0, rate="90000/s", at_once=10_000, unique=("tenant",))
async def limited(tenant: int) -> None:
    """Do nothing, under limits that stop nobody, with a key."""


@app.task(max_retries=0, rate="90000/s")
async def rated(tenant: int) -> None:
    """Do nothing, under a rate that stops nobody."""


@app.task(max_retries=0, at_once=10_000)
async def crowded(tenant: int) -> None:
    """Do nothing, under a limit of how many at once that stops nobody."""


@app.task(max_retries=0, unique=("tenant",))
async def keyed(tenant: int) -> None:
    """Do nothing, with a key."""


@app.task(max_retries=0)
def timed(ctx: Context, number: int, folder: str) -> None:
    """Leave a line outside the store when it starts. Its rate comes with each job."""
    leave_line(folder, f"start {ctx.job_id} {time.monotonic():.6f}")
    time.sleep(0.02)


@app.task(max_retries=0, at_once=AtOnce(AT_ONCE))
def few(ctx: Context, number: int, folder: str) -> None:
    """Leave a line outside the store when it starts, and one when it ends; three at once."""
    leave_line(folder, f"start {ctx.job_id} {time.monotonic():.6f}")
    time.sleep(0.05)
    leave_line(folder, f"end {ctx.job_id} {time.monotonic():.6f}")
