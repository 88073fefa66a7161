"""Proof under `kill -9` and SIGSTOP: nothing lost, nothing completed twice, every extra run explained.

Each run of a job leaves lines in a file outside the store. Afterwards a checker joins those lines with the events
in the store and with the list of the processes that were killed or stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from bench.harness import PATIENCE, app_in, environment, scratch, worker_command
from bench.recovery import SWEEP, recovery
from faena.client import Client
from faena.errors import Unavailable
from faena.events import EventType
from faena.job import Job, Status
from faena.ports.records import Query, Story
from faena.task import JobRequest
from faena.testing.servers import RedisServer

PROCESSES = 4
LEASE = 1.5
"""Seconds: a tenth of the default, so that a job of a killed worker is soon run again."""
REDELIVER_AFTER = 0.5
"""A tenth of the default, too."""
STORM = (0.02, 0.25)
"""Seconds between two kills, the least and the most: the next ones die before the jobs of the last are rescued."""
ONE_BY_ONE = (LEASE * (1 + SWEEP) + 0.5, LEASE * (1 + SWEEP) + 1.0)
"""The jobs of the one run again before the next is killed."""
UNSETTLED = 3.0
"""Seconds after an outage in which nobody can be measured: leases began anew, workers start."""


@dataclass(frozen=True)
class Plan:
    """How many jobs to run, and what to do to those who run them."""

    engine: str
    jobs: int
    kills: int = 0
    stops: int = 0
    supervisors: int = 0
    """How often the supervisor is killed, besides."""
    restarts: int = 0
    """How often Redis is killed and started again."""
    pause: tuple[float, float] = STORM
    """The least and the most seconds between two of them."""
    longest: float = 0.02
    """Seconds that a job takes at most; a quarter of that at least."""
    processes: int = PROCESSES


@dataclass
class Disturbance:
    """What was done to the workers, by process id."""

    killed: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    shaken: list[int] = field(default_factory=list)
    """Those whose supervisor or whose Redis was killed: their jobs may have been taken from them, too."""
    supervisors: int = 0
    restarts: int = 0
    moments: dict[int, float] = field(default_factory=dict)
    """When each process of ``killed`` was killed, by the clock that all processes share."""
    outages: list[tuple[float, float]] = field(default_factory=list)
    """From when to when Redis was down, or a supervisor and its workers were being replaced."""


@dataclass(frozen=True)
class Run:
    """One run of a job, as its own lines tell it."""

    job_id: str
    name: str
    ended: bool

    @property
    def pid(self) -> int:
        """The process in which it ran."""
        return int(self.name.split("-")[0])

    @property
    def began(self) -> float:
        """When it began, by the same clock as `Disturbance.moments`."""
        return int(self.name.split("-")[1]) / 1e9


class Crew:
    """`faena worker --processes N` for as long as the block lasts; its supervisor may be killed, too."""

    def __init__(
        self,
        folder: Path,
        *,
        engine: str,
        threads: int,
        redis: str | None,
        module: str = "bench.tasks",
        processes: int = PROCESSES,
    ) -> None:
        store = "sqlite" if redis is None else "redis"
        self._command = worker_command(
            folder, engine=engine, threads=threads, processes=processes, store=store, module=module
        )
        told = {"LEASE": LEASE, "REDELIVER_AFTER": REDELIVER_AFTER, "MAX_CRASHES": 50}
        self._env = environment(redis) | {f"FAENA_{name}": str(value) for name, value in told.items()}
        self._log = folder / "worker.log"
        self._process = self._start()

    @property
    def pids(self) -> list[int]:
        """The worker processes that live now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(self._process.pid).children()]
        return []

    def kill_supervisor(self) -> None:
        """Kill it and start another one, as an operator's own supervisor would. Its workers end by themselves."""
        self._process.kill()
        self._process.wait()
        self._process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._log, "ab") as log:
            return subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)


def one_of(crew: Crew, chance: random.Random, *, runs: Path, but: set[int]) -> int | None:
    """Return the id of a worker process that has run a job, at random; None while there is none."""
    busy = {int(path.stem) for path in runs.glob("*.log")}
    children = [pid for pid in crew.pids if pid in busy - but]
    return chance.choice(children) if children else None


def send(pid: int | None, number: signal.Signals) -> bool:
    """Send a signal; False if there is no such process any more."""
    try:
        if pid is not None:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    return pid is not None


async def disturb(
    crew: Crew, plan: Plan, *, runs: Path, chance: random.Random, redis: RedisServer | None
) -> Disturbance:
    """Kill and stop worker processes, kill the supervisor and Redis, at random moments until enough was done."""
    done = Disturbance()
    asleep: set[int] = set()

    async def stop_for_a_while(pid: int) -> None:
        await asyncio.sleep(LEASE + chance.uniform(0.5, 1.5))
        send(pid, signal.SIGCONT)
        asleep.discard(pid)

    naps: list[asyncio.Task[None]] = []
    while len(done.killed) < plan.kills or len(done.stopped) < plan.stops:
        await asyncio.sleep(chance.uniform(*plan.pause))
        stop = len(done.stopped) < plan.stops and (len(done.killed) >= plan.kills or chance.random() < 0.3)
        pid = one_of(crew, chance, runs=runs, but=asleep)
        if stop and len(asleep) < plan.processes - 1 and send(pid, signal.SIGSTOP):
            assert pid is not None
            asleep.add(pid)
            done.stopped.append(pid)
            naps.append(asyncio.create_task(stop_for_a_while(pid)))
        elif not stop and send(pid, signal.SIGKILL):
            assert pid is not None
            done.killed.append(pid)
            done.moments[pid] = time.monotonic()
        if done.supervisors < plan.supervisors * len(done.killed) // max(plan.kills, 1):
            done.supervisors += 1
            done.shaken += crew.pids
            began = time.monotonic()
            crew.kill_supervisor()
            done.outages.append((began, began + UNSETTLED))
        if redis is not None and done.restarts < plan.restarts * len(done.killed) // max(plan.kills, 1):
            done.restarts += 1
            done.shaken += crew.pids
            began = time.monotonic()
            redis.kill()
            await asyncio.sleep(chance.uniform(0.2, 3.0))
            redis.start()
            done.outages.append((began, time.monotonic() + UNSETTLED))
    await asyncio.gather(*naps)
    return done


async def feed_and_disturb(
    folder: Path, plan: Plan, *, chance: random.Random, redis: RedisServer | None
) -> tuple[Disturbance, float]:
    """Enqueue jobs little by little for as long as the disturbance goes on, wait until all have ended."""
    url = None if redis is None else redis.url
    runs = folder / "runs"
    runs.mkdir()
    async with app_in(folder, engine=plan.engine, redis=url).connect() as client:
        with Crew(folder, engine=plan.engine, threads=2, redis=url, processes=plan.processes) as crew:
            disturbing = asyncio.create_task(disturb(crew, plan, runs=runs, chance=chance, redis=redis))
            sent = 0
            while sent < plan.jobs:
                with contextlib.suppress(Unavailable):  # Redis is being restarted
                    if disturbing.done() or await _waiting(client) < 40:
                        args = {"number": sent, "folder": str(runs), "longest": plan.longest}
                        request = JobRequest(task="trace", args=args)
                        await client.enqueue_many([request])
                        sent += 1
                        continue
                await asyncio.sleep(0.05)
            disturbance = await disturbing
            calm = time.monotonic()
            while await _waiting(client) and time.monotonic() - calm < PATIENCE:
                await asyncio.sleep(0.05)
            return disturbance, time.monotonic() - calm


async def _waiting(client: Client) -> int:
    return sum(count.count for count in await client.store.counts() if not count.status.final)


def runs_in(folder: Path) -> list[Run]:
    """Read the lines that the runs left."""
    started: dict[str, str] = {}
    ended: set[str] = set()
    for path in sorted((folder / "runs").glob("*.log")):
        for line in path.read_text().splitlines():
            what, job_id, name = line.split()
            if what == "start":
                started[name] = job_id
            else:
                ended.add(name)
    return [Run(job_id=job_id, name=name, ended=name in ended) for name, job_id in started.items()]


async def stories_in(folder: Path, *, engine: str, redis: str | None) -> tuple[list[Story], int]:
    """Read all jobs with their events, and how many stale writes were refused."""
    stories: list[Story] = []
    async with app_in(folder, engine=engine, redis=redis).connect() as client:
        health = await client.store.check()
        cursor: str | None = None
        while True:
            page = await client.store.find(Query(limit=200, cursor=cursor))
            for job in page.jobs:
                story = await client.store.story(job.id)
                assert story is not None
                stories.append(story)
            cursor = page.cursor
            if cursor is None:
                return stories, int(health.details["stale_writes_refused"])


def faults(stories: list[Story], runs: list[Run], disturbance: Disturbance, *, jobs: int) -> list[str]:
    """Return everything that must not be, in words."""
    found = []
    runs_of: dict[str, list[Run]] = {}
    for run in runs:
        runs_of.setdefault(run.job_id, []).append(run)
    disturbed = {*disturbance.killed, *disturbance.stopped, *disturbance.shaken}
    if len(stories) != jobs:
        found.append(f"{jobs} jobs were acknowledged and {len(stories)} are stored")
    for story in stories:
        found += faults_of(story, runs_of.get(story.job.id, []), disturbed)
    return found


def faults_of(story: Story, runs: list[Run], disturbed: set[int]) -> list[str]:
    """Check one job against its runs."""
    job, found = story.job, []
    completions = sum(e.type is EventType.STATUS and e.status is Status.COMPLETED for e in story.events)
    if job.status is not Status.COMPLETED or completions != 1:
        found.append(f"{job.id} is {job.status} and was completed {completions} times: {job.error}")
        return found
    if [event.seq for event in story.events] != list(range(1, job.seq + 1)):
        found.append(f"{job.id}: its events are not numbered without a gap")
    winner = json.loads(job.result or b"null")
    if winner not in {run.name for run in runs if run.ended}:
        found.append(f"{job.id}: its result is of a run that never ended")
    for run in runs:
        if run.name != winner and run.pid not in disturbed:
            found.append(f"{job.id}: the extra run {run.name} is explained by no kill and no stop")
    if len(runs) > job.crashes + 1:
        found.append(f"{job.id}: {len(runs)} runs, but only {job.crashes} rescues")
    return found + stale_writes(job, story, winner)


def stale_writes(job: Job, story: Story, winner: str) -> list[str]:
    """Find writes of a run that had lost its lease: more than one run told something within one claim, or the
    result is not of the run that the last claim belongs to."""
    found = []
    told: str | None = None
    for event in story.events:
        if event.type is EventType.STATUS and event.status is Status.PROCESSING:
            told = None
        elif event.event == "ran":
            if told is not None:
                found.append(f"{job.id}: a stale event of {event.data['run']} was accepted beside {told}")
            told = event.data["run"]
    if told != winner:
        found.append(f"{job.id}: the last claim's run is {told}, the result is of {winner}")
    return found


def prove(
    *,
    engine: str,
    jobs: int,
    kills: int = 0,
    stops: int = 0,
    supervisors: int = 0,
    restarts: int = 0,
    pause: tuple[float, float] = STORM,
    longest: float = 0.02,
    processes: int = PROCESSES,
    seed: int,
    on_redis: bool = False,
) -> dict[str, object]:
    """Run, disturb, check. The figure ``faults`` must be empty.

    On Redis the server appends each write to its file and syncs it (``appendfsync always``), so that killing it loses
    nothing that it acknowledged. An enqueue whose answer was lost may have been carried out all the same: with
    restarts there may be more jobs stored than were acknowledged, never fewer.
    """
    plan = Plan(engine, jobs, kills, stops, supervisors, restarts, pause, longest, processes)
    with scratch() as folder, contextlib.ExitStack() as stack:
        redis: RedisServer | None = None
        if on_redis:
            options = ("--appendonly", "yes", "--appendfsync", "always")
            redis = stack.enter_context(RedisServer(folder, *options))
        started = time.monotonic()
        disturbance, settled = asyncio.run(
            feed_and_disturb(folder, plan, chance=random.Random(seed), redis=redis)
        )
        url = None if redis is None else redis.url
        stories, refused = asyncio.run(stories_in(folder, engine=engine, redis=url))
        runs = runs_in(folder)
        stored = max(jobs, len(stories)) if restarts else jobs
        return {
            "engine": engine,
            "store": "redis" if on_redis else "sqlite",
            "jobs": jobs,
            "jobs_stored": len(stories),
            "kills": len(disturbance.killed),
            "stops": len(disturbance.stopped),
            "supervisors_killed": disturbance.supervisors,
            "redis_restarts": disturbance.restarts,
            "recovery": recovery(runs, disturbance, lease=LEASE),
            "runs": len(runs),
            "extra_runs": len(runs) - len(stories),
            "rescues": sum(story.job.crashes for story in stories),
            "statuses": dict(Counter(str(story.job.status) for story in stories)),
            "stale_writes_refused": refused,
            "seconds": time.monotonic() - started,
            "seconds_after_the_last_kill": settled,
            "faults": faults(stories, runs, disturbance, jobs=stored),
        }


ON_REDIS = ("direct", "dramatiq", "huey", "celery", "rq", "arq")


def main(*, quick: bool = False) -> dict[str, object]:
    """5,000 jobs under 100 kills; 2,000 under 50 stops past the lease; each engine on Redis under 60 kills, 5 of the
    supervisor and 5 restarts of Redis, and under 30 kills one by one, which tell how soon jobs run again after one."""
    scale = 10 if quick else 1
    figures: dict[str, object] = {
        "kill_9": prove(engine="direct", jobs=5000 // scale, kills=100 // scale, seed=1),
        "stopped_past_the_lease": prove(engine="direct", jobs=2000 // scale, stops=50 // scale, seed=2),
        "huey_kill_9": prove(engine="huey", jobs=1000 // scale, kills=20 // scale, seed=3),
    }
    for number, engine in enumerate(ON_REDIS, 4):
        few = 1 if quick else 5
        figures[f"{engine}_on_redis"] = prove(
            engine=engine,
            jobs=5000 // scale,
            kills=60 // scale,
            supervisors=few,
            restarts=few,
            seed=number,
            on_redis=True,
        )
        figures[f"{engine}_on_redis_one_by_one"] = prove(
            engine=engine,
            jobs=5000 // scale,
            kills=30 // scale,
            pause=ONE_BY_ONE,
            longest=0.2,
            seed=10 + number,
            on_redis=True,
        )
    return figures
