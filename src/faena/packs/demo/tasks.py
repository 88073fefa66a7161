"""Tasks that only spend time, and tell how far they are."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from pydantic import Field

from faena import Context, Pack

pack = Pack("demo", routes="faena.packs.demo.routes:router")

LONGEST = 3600
TICK = 0.1
"""Seconds between two looks at the clock: how finely progress is told."""

Seconds = Annotated[float, Field(ge=0, le=LONGEST)]
Steps = Annotated[int, Field(ge=1, le=10_000)]


@pack.task(topic="demo")
async def long_task(ctx: Context, duration: Seconds, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """Work for so many seconds, with progress all the way; cancellable at any time."""
    await _spend(ctx, duration)
    return {"duration": duration, "payload": payload or {}}


@pack.task(topic="demo")
async def task_a(ctx: Context, user_id: int, duration: Seconds = 5) -> dict[str, Any]:
    """Process a user."""
    await _spend(ctx, duration, message=f"processing user {user_id}")
    ctx.emit("user_processed", {"user_id": user_id})
    return {"user_id": user_id, "processed": True}


@pack.task(topic="demo")
async def task_b(ctx: Context, user_id: int, duration: Seconds = 5) -> dict[str, Any]:
    """Send a user's notifications."""
    await _spend(ctx, duration, message=f"notifying user {user_id}")
    ctx.emit("user_notified", {"user_id": user_id})
    return {"user_id": user_id, "notified": True}


@pack.task(topic="demo")
async def long_running_progress(
    ctx: Context,
    steps: Steps = 10,
    user_id: str | None = None,
    pause: Annotated[float, Field(ge=0, le=60)] = 0.5,
) -> dict[str, Any]:
    """Take so many steps, and tell each of them."""
    for step in range(1, steps + 1):
        await asyncio.sleep(pause)
        ctx.progress(100 * step / steps, f"step {step} of {steps}")
    return {"steps": steps, "user_id": user_id}


@pack.task(topic="demo")
async def task_sleep(seconds: Seconds) -> dict[str, float]:
    """Sleep, and tell nothing."""
    await asyncio.sleep(seconds)
    return {"slept": seconds}


async def _spend(ctx: Context, duration: float, *, message: str = "working") -> None:
    start = time.monotonic()
    while (spent := time.monotonic() - start) < duration:
        ctx.progress(100 * spent / duration, message)  # raises Cancelled once the job is called off
        await asyncio.sleep(min(TICK, duration - spent))
    ctx.progress(100, message)
