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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.harness import PATIENCE, app_in, counted, environment, reading, scratch, worker_command
from faena.events import EventType
from faena.job import Job, Status
from faena.ports.store import Query, Story
from faena.task import JobRequest

PROCESSES = 4
LEASE = 1.5
"""Seconds. Short, so that a job of a killed worker is soon run again."""


@dataclass
class Disturbance:
    """What was done to the workers."""

    killed: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)


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


@contextlib.contextmanager
def workers(folder: Path, *, engine: str, threads: int) -> Iterator[psutil.Process]:
    """`faena worker --processes 4`; gives the supervisor."""
    command = worker_command(folder, engine=engine, threads=threads, processes=PROCESSES)
    env = environment() | {"FAENA_LEASE": str(LEASE), "FAENA_MAX_CRASHES": "50"}
    with open(folder / "worker.log", "ab") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def one_of(supervisor: psutil.Process, chance: random.Random, *, runs: Path, but: set[int]) -> int | None:
    """Return the id of a worker process that has run a job, at random; None while there is none."""
    busy = {int(path.stem) for path in runs.glob("*.log")}
    children = [child.pid for child in supervisor.children() if child.pid in busy - but]
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
    supervisor: psutil.Process,
    done: asyncio.Event,
    *,
    runs: Path,
    kills: int,
    stops: int,
    chance: random.Random,
) -> Disturbance:
    """Kill and stop worker processes at random moments until enough was done."""
    disturbance = Disturbance()
    asleep: set[int] = set()

    async def stop_for_a_while(pid: int) -> None:
        await asyncio.sleep(LEASE + chance.uniform(0.5, 1.5))
        send(pid, signal.SIGCONT)
        asleep.discard(pid)

    naps: list[asyncio.Task[None]] = []
    while len(disturbance.killed) < kills or len(disturbance.stopped) < stops:
        await asyncio.sleep(chance.uniform(0.02, 0.25))
        stop = len(disturbance.stopped) < stops and (
            len(disturbance.killed) >= kills or chance.random() < 0.3
        )
        pid = one_of(supervisor, chance, runs=runs, but=asleep)
        if stop and len(asleep) < PROCESSES - 1 and send(pid, signal.SIGSTOP):
            assert pid is not None
            asleep.add(pid)
            disturbance.stopped.append(pid)
            naps.append(asyncio.create_task(stop_for_a_while(pid)))
        elif not stop and send(pid, signal.SIGKILL):
            assert pid is not None
            disturbance.killed.append(pid)
    await asyncio.gather(*naps)
    done.set()
    return disturbance


async def feed_and_disturb(
    folder: Path, *, engine: str, jobs: int, kills: int, stops: int, chance: random.Random
) -> tuple[Disturbance, float]:
    """Enqueue jobs little by little for as long as the disturbance goes on, wait until all have ended."""
    app = app_in(folder, engine=engine)
    runs = folder / "runs"
    runs.mkdir()
    quiet = asyncio.Event()
    async with app.connect() as client:
        with workers(folder, engine=engine, threads=2) as supervisor:
            disturbing = asyncio.create_task(
                disturb(supervisor, quiet, runs=runs, kills=kills, stops=stops, chance=chance)
            )
            sent = 0
            while sent < jobs:
                waiting = sum(c.count for c in await client.store.counts() if not c.status.final)
                if waiting < 40 or quiet.is_set():
                    some = min(20, jobs - sent)
                    await client.enqueue_many(
                        JobRequest(task="trace", args={"number": sent + n, "folder": str(runs)})
                        for n in range(some)
                    )
                    sent += some
                else:
                    await asyncio.sleep(0.05)
            disturbance = await disturbing
            calm = time.monotonic()
            with reading(folder) as connection:
                while sum(counted(connection, final) for final in (3, 4, 5)) < jobs:
                    await asyncio.sleep(0.05)
                    if time.monotonic() - calm > PATIENCE:
                        break
            return disturbance, time.monotonic() - calm


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


async def stories_in(folder: Path, *, engine: str) -> list[Story]:
    """Read all jobs with their events."""
    stories: list[Story] = []
    async with app_in(folder, engine=engine).connect() as client:
        cursor: str | None = None
        while True:
            page = await client.store.find(Query(limit=200, cursor=cursor))
            for job in page.jobs:
                story = await client.store.story(job.id)
                assert story is not None
                stories.append(story)
            cursor = page.cursor
            if cursor is None:
                return stories


def faults(stories: list[Story], runs: list[Run], disturbance: Disturbance, *, jobs: int) -> list[str]:
    """Return everything that must not be, in words."""
    found = []
    runs_of: dict[str, list[Run]] = {}
    for run in runs:
        runs_of.setdefault(run.job_id, []).append(run)
    disturbed = set(disturbance.killed) | set(disturbance.stopped)
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


def prove(*, engine: str, jobs: int, kills: int, stops: int, seed: int) -> dict[str, object]:
    """Run, disturb, check. The figure ``faults`` must be empty."""
    with scratch() as folder:
        started = time.monotonic()
        disturbance, settled = asyncio.run(
            feed_and_disturb(
                folder, engine=engine, jobs=jobs, kills=kills, stops=stops, chance=random.Random(seed)
            )
        )
        stories = asyncio.run(stories_in(folder, engine=engine))
        runs = runs_in(folder)
        with reading(folder) as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = 'refused'").fetchone()
        return {
            "jobs": jobs,
            "kills": len(disturbance.killed),
            "stops": len(disturbance.stopped),
            "lease_s": LEASE,
            "runs": len(runs),
            "extra_runs": len(runs) - len(stories),
            "rescues": sum(story.job.crashes for story in stories),
            "statuses": dict(Counter(str(story.job.status) for story in stories)),
            "stale_writes_refused": 0 if row is None else int(row[0]),
            "seconds": time.monotonic() - started,
            "seconds_after_the_last_kill": settled,
            "faults": faults(stories, runs, disturbance, jobs=jobs),
        }


def main(*, quick: bool = False) -> dict[str, object]:
    """5,000 jobs under 100 kills; 2,000 under 50 stops past the lease."""
    scale = 10 if quick else 1
    return {
        "kill_9": prove(engine="direct", jobs=5000 // scale, kills=100 // scale, stops=0, seed=1),
        "stopped_past_the_lease": prove(
            engine="direct", jobs=2000 // scale, kills=0, stops=50 // scale, seed=2
        ),
        "huey_kill_9": prove(engine="huey", jobs=1000 // scale, kills=20 // scale, stops=0, seed=3),
    }
