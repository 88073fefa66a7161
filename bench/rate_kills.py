"""Limits under `kill -9`: never more starts in any window than allowed, never more at once, and little of it wasted.

The functions write down their own starts and ends outside the store; the store is not asked.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.harness import app_in, scratch
from bench.kills import LEASE, Crew, one_of, send
from bench.limited_tasks import AT_ONCE, STARTS
from faena.rates import Rate
from faena.task import JobRequest
from faena.testing.servers import RedisServer

MODULE = "bench.limited_tasks"


async def kill_while(
    busy: Callable[[], bool], crew: Crew, runs: Path, *, kills: int, seconds: float
) -> dict[int, float]:
    """Kill worker processes at random moments, spread over ``seconds``; returns when each was killed (monotonic)."""
    chance = random.Random(4)
    killed: dict[int, float] = {}
    while len(killed) < kills and busy():
        await asyncio.sleep(chance.uniform(0.2, 1.8) * seconds / max(kills, 1))
        pid = one_of(crew, chance, runs=runs, but=set(killed))
        if send(pid, signal.SIGKILL):
            assert pid is not None
            killed[pid] = time.monotonic()
    return killed


def lines(runs: Path, what: str) -> list[tuple[int, str, float]]:
    """Read what the functions wrote: the process, the job and the moment of each start, or each end, in order."""
    found = []
    for path in runs.glob("*.log"):
        for line in path.read_text().splitlines():
            word, job_id, at = line.split()
            if word == what:
                found.append((int(path.stem), job_id, float(at)))
    return sorted(found, key=lambda line: line[2])


def most_within(moments: Sequence[float], period: float) -> int:
    """Return the largest number of moments within any half-open window of ``period`` seconds."""
    most, first = 0, 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= period:
            first += 1
        most = max(most, last - first + 1)
    return most


def most_at_once(
    starts: Iterable[tuple[int, str, float]], ends: Iterable[tuple[int, str, float]], killed: dict[int, float]
) -> int:
    """Return how many runs overlapped at most. A run that a kill cut off lasted until the kill."""
    ended = {(pid, job): at for pid, job, at in ends}
    steps = []
    for pid, job, at in starts:
        until = ended.get((pid, job), killed.get(pid))
        assert until is not None, f"{job} neither ended nor was killed in {pid}"
        steps += [(at, 1), (until, -1)]
    now = most = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most


def prove_rate(*, engine: str, on_redis: bool, period: float, periods: int, kills: int) -> dict[str, Any]:
    """Let jobs run at ten a period for some periods while workers are killed."""
    with scratch() as folder, ExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder)).url if on_redis else None
        runs = folder / "runs"
        runs.mkdir()
        jobs = _jobs("timed", runs, STARTS * (periods + 2), rate=Rate(STARTS, period))
        took, killed = asyncio.run(
            _run(jobs, folder, runs, engine=engine, redis=redis, kills=kills, seconds=period * periods)
        )
        starts = [at for _, _, at in lines(runs, "start")]
    seen = [at for at in starts if at - starts[0] < period * periods]
    return {
        "engine": engine,
        "store": "redis" if on_redis else "sqlite",
        "period_s": period,
        "allowed_in_a_period": STARTS,
        "kills": len(killed),
        "seconds": took,
        "starts": len(seen),
        "most_in_any_period": most_within(starts, period),
        "most_in_any_period_but_half_a_second": most_within(starts, period - 0.5),
        "used": len(seen) / (STARTS * periods),
    }


def prove_at_once(*, engine: str, on_redis: bool, seconds: float, kills: int) -> dict[str, Any]:
    """Let jobs run three at once for some seconds while workers are killed."""
    with scratch() as folder, ExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder)).url if on_redis else None
        runs = folder / "runs"
        runs.mkdir()
        jobs = _jobs("few", runs, int(seconds * AT_ONCE * 20))
        _, killed = asyncio.run(
            _run(jobs, folder, runs, engine=engine, redis=redis, kills=kills, seconds=seconds)
        )
        starts, ends = lines(runs, "start"), lines(runs, "end")
        now = time.monotonic()
    left = {pid: now for pid, _, _ in starts} | killed
    return {
        "engine": engine,
        "store": "redis" if on_redis else "sqlite",
        "allowed_at_once": AT_ONCE,
        "kills": len(killed),
        "starts": len(starts),
        "most_at_once": most_at_once(starts, ends, left),
    }


def _jobs(task: str, runs: Path, count: int, *, rate: Rate | None = None) -> list[JobRequest]:
    args = ({"number": number, "folder": str(runs)} for number in range(count))
    return [JobRequest(task=task, args=each, rate=rate) for each in args]


async def _run(
    jobs: Sequence[JobRequest],
    folder: Path,
    runs: Path,
    *,
    engine: str,
    redis: str | None,
    kills: int,
    seconds: float,
) -> tuple[float, dict[int, float]]:
    async with app_in(folder, engine=engine, redis=redis, module=MODULE).connect() as client:
        await client.enqueue_many(jobs)
        with Crew(folder, engine=engine, threads=4, redis=redis, module=MODULE) as crew:
            while not lines(runs, "start"):
                await asyncio.sleep(0.02)
            began = time.monotonic()
            killed = await kill_while(
                lambda: time.monotonic() - began < seconds, crew, runs, kills=kills, seconds=seconds
            )
            await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))
            took = time.monotonic() - began
    return took, killed


def main(*, quick: bool = False) -> dict[str, Any]:
    """Ten a minute under 20 kills, for five minutes; ten in six seconds, and three at once, under 20 kills, on both
    stores."""
    few = 4 if quick else 20
    figures: dict[str, Any] = {"lease_s": LEASE}
    for engine, on_redis in (("direct", False), ("direct", True), ("dramatiq", True)):
        name = f"{engine}_on_{'redis' if on_redis else 'sqlite'}"
        figures[name] = {
            "ten_in_six_seconds": prove_rate(
                engine=engine, on_redis=on_redis, period=6.0, periods=2 if quick else 8, kills=few
            ),
            "three_at_once": prove_at_once(
                engine=engine, on_redis=on_redis, seconds=5.0 if quick else 30.0, kills=few
            ),
        }
    if not quick:
        figures["ten_a_minute"] = prove_rate(
            engine="direct", on_redis=False, period=60.0, periods=5, kills=20
        )
    return figures
