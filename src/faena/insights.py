"""What a person should know about jobs and about the processes that share a store.

``GET /jobs/{id}/why``, ``faena why``, ``/health``, ``faena doctor`` and the workers ask here.
"""

from __future__ import annotations

import asyncio
import enum
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from faena import words
from faena.errors import JobCancelled, NotFound, Unavailable, UnknownName
from faena.events import Event, EventType
from faena.job import Gate, Job, Record, Status
from faena.outcomes import unknown
from faena.ports.engine import Engine
from faena.ports.records import Count, Obstacles, Paused, WorkerInfo
from faena.ports.store import Store
from faena.task import Task

DIRECT = "direct"
ENGINE_ANSWERS_WITHIN: Final = 3.0
"""Seconds that the engine has to say how it is."""
LAST_EVENTS: Final = 20
"""How far back the event is looked for that put a job off."""
MOST_AHEAD: Final = 1000
"""How far the store counts those that go first (`Obstacles.ahead`)."""
LONG_PAUSED: Final = 3600.0
"""Seconds after which a pause that jobs wait behind may have been forgotten."""
BY_HAND: Final = frozenset({"changed", "debounced"})
"""Messages of events that gave a waiting job another time."""


class Reason(enum.StrEnum):
    """Why a job is not running, in the order in which reasons are looked for."""

    ENDED = "ended"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    RETRY = "retry"
    UNKNOWN_TASK = "unknown_task"
    QUEUE_PAUSED = "queue_paused"
    TASK_PAUSED = "task_paused"
    RATE = "rate"
    AT_ONCE = "at_once"
    NO_WORKER = "no_worker"
    NO_WORKER_KNOWS = "no_worker_knows"
    BUSY = "busy"
    ENGINE_DOWN = "engine_down"
    AT_ENGINE = "at_engine"
    NOT_DELIVERED = "not_delivered"
    IN_LINE = "in_line"
    READY = "ready"


class Why(Record, frozen=True):
    """Why a job is not running: one reason, told in a sentence, and the facts that it was taken from."""

    job_id: str
    status: Status
    reason: Reason
    text: str
    until: float | None = None
    """When the reason ends (seconds since the epoch), where that is known."""
    facts: dict[str, Any] = {}


class Forgotten(Record, frozen=True):
    """A pause that somebody may have forgotten, and the command that ends it."""

    told: str
    resume: str


async def why(store: Store, engine: Engine, tasks: Mapping[str, object], job_id: str) -> Why:
    """Say why a job is not running, from what the store (and, for delivered jobs, the engine) knows now; of several
    reasons the first that has to end. ``tasks`` are those registered here. Raises `NotFound`."""
    while True:
        job = (await store.get([job_id]))[0]
        if job is None:
            raise NotFound(job_id)
        if job.status.final:
            return _ended(job)
        if job.status is Status.PROCESSING:
            return _running(job, await store.workers())
        obstacles = await store.obstacles(job_id)
        if obstacles is not None:  # None: it has just begun or ended, so look again
            break
    if job.status is Status.SCHEDULED:
        return await _scheduled(store, job, obstacles)
    held = await _held_by_the_store(store, job, obstacles)
    if held is not None:
        return held
    short = _short_of_workers(job, await store.workers(), tasks)
    if short is not None:
        return short
    if engine.capabilities.delivers and (at := await _at_the_engine(engine, job, obstacles)) is not None:
        return at
    return _in_line(job, obstacles)


def _why(job: Job, reason: Reason, text: str, *, until: float | None = None, **facts: Any) -> Why:
    facts = {"task": job.task, "queue": job.queue, **facts}
    return Why(job_id=job.id, status=job.status, reason=reason, text=text, until=until, facts=facts)


def _ended(job: Job) -> Why:
    text = f"it is not running because it has ended: {job.status} {words.when(job.finished_at)}"
    if job.status is Status.FAILED and job.error is not None:
        text += f", with {job.error.told}"
    if job.status is Status.CANCELLED and job.message not in (None, str(JobCancelled(job.id))):
        text += f" ({job.message})"
    return _why(job, Reason.ENDED, text, finished_at=job.finished_at)


def _running(job: Job, workers: Sequence[WorkerInfo]) -> Why:
    alive = any(worker.id == job.worker for worker in workers)
    text = f"it is running, on worker {job.worker}, since {words.at(job.started_at)}"
    if job.cancel_requested:
        text += "; its worker has been asked to stop it"
    if not alive:
        text += "; that worker has not been heard of lately: when its lease is over, "
        others = any(job.queue in worker.queues for worker in workers)
        text += "another one takes the job" if others else f"it waits for one that takes queue {job.queue}"
    return _why(
        job,
        Reason.RUNNING,
        text,
        worker=job.worker,
        worker_alive=alive,
        started_at=job.started_at,
        cancel_requested=job.cancel_requested,
    )


async def _scheduled(store: Store, job: Job, obstacles: Obstacles) -> Why:
    """Say what it is put off for: its retry, a worker that knows its task, or simply its time."""
    event = await _put_off_by(store, job)
    due = f"until {words.when(job.due_at)}" if (obstacles.due_in or 0) > 0 else "and is due by now"
    facts: dict[str, Any] = {"due_at": job.due_at, "due_in": obstacles.due_in}
    facts |= {"queue_paused": obstacles.queue_paused, "task_paused": obstacles.task_paused}
    given_back = event is not None and event.attempt > job.attempt
    if job.error is not None and job.attempt and not given_back:
        left = f"retry {job.attempt} of {job.max_attempts - 1}"
        text = f"it waits for {left} {due}, after it failed with {job.error.told}"
        facts |= {"retry": job.attempt, "error": {"type": job.error.type, "message": job.error.message}}
        return _why(job, Reason.RETRY, text, until=job.due_at, **facts)
    told = event.message if event is not None else None
    if given_back and told == str(unknown(job)):
        knowing = [worker.id for worker in await store.workers() if job.task in worker.tasks]
        now = f"; by now {words.listed(knowing)} knows it" if knowing else ""
        text = f"the worker that took it knows no task named {job.task}{now}, so it was put off {due}"
        return _why(job, Reason.UNKNOWN_TASK, text, until=job.due_at, known_by=knowing, **facts)
    text = (
        f"it asked to run later and waits {due}"
        if given_back
        else f"it is scheduled for {words.when(job.due_at)}"
    )
    text += f" ({told})" if given_back and told else ""
    return _why(job, Reason.SCHEDULED, text, until=job.due_at, **facts)


async def _put_off_by(store: Store, job: Job) -> Event | None:
    """Return the last event that made the job wait for a time, and was not somebody who changed that time."""
    story = await store.story(job.id, after=max(job.seq - LAST_EVENTS, 0))
    for event in reversed(story.events if story is not None else ()):
        scheduled = event.type is EventType.STATUS and event.status is Status.SCHEDULED
        if scheduled and event.message not in BY_HAND:
            return event
    return None


async def _held_by_the_store(store: Store, job: Job, obstacles: Obstacles) -> Why | None:
    """Look at pauses and limits."""
    if obstacles.queue_paused or obstacles.task_paused:
        what, name = ("queue", job.queue) if obstacles.queue_paused else ("task", job.task)
        since = next((one.at for one in await store.paused() if getattr(one, what) == name), None)
        reason = Reason.QUEUE_PAUSED if what == "queue" else Reason.TASK_PAUSED
        return _why(
            job,
            reason,
            f"the {what} {name} is paused" + (f" since {words.at(since)}" if since else ""),
            since=since,
        )
    gate = obstacles.gate
    if gate is None:
        return None
    facts: dict[str, Any] = {"gate": gate.name, "rule": words.rule(gate), "opens_in": obstacles.opens_in}
    if obstacles.opens_in is not None:
        until = words.after(obstacles.opens_in)
        text = f"the limit {gate.name} ({words.rule(gate)}) is used up until {words.when(until)}"
        text += _and_ahead(obstacles)
        return _why(job, Reason.RATE, text, until=until, ahead=obstacles.ahead, **facts)
    return _why(
        job,
        Reason.AT_ONCE,
        _slots_taken(gate, obstacles.holders) + _and_ahead(obstacles),
        holders=list(obstacles.holders),
        ahead=obstacles.ahead,
        **facts,
    )


def _slots_taken(gate: Gate, holders: Sequence[str]) -> str:
    who = f"held by {'job' if len(holders) == 1 else 'jobs'} {words.listed(holders)}" if holders else "taken"
    slots = "its slot is" if gate.at_once == 1 else "all its slots are"
    return f"the limit {gate.name} ({words.rule(gate)}) lets no more run: {slots} {who}"


def _short_of_workers(job: Job, workers: Sequence[WorkerInfo], tasks: Mapping[str, object]) -> Why | None:
    """Look whether somebody is there who takes the queue, knows the task and has a slot."""
    taking = [worker for worker in at_work(workers) if job.queue in worker.queues]
    if not taking:
        taken = sorted({queue for worker in workers for queue in worker.queues})
        others = f"the live workers take {words.listed(taken)}" if taken else "there is no live worker"
        text = f"no live worker takes the queue {job.queue}: {others}"
        return _why(job, Reason.NO_WORKER, text, queues_taken=taken)
    knowing = [worker for worker in taking if knows(worker, job.task)]
    if not knowing:
        names = [worker.id for worker in taking]
        text = f"no live worker that takes the queue {job.queue} knows a task named {job.task}"
        text += "" if job.task in tasks else "; it is not registered here either: was it renamed or removed?"
        return _why(job, Reason.NO_WORKER_KNOWS, text, workers=names, registered_here=job.task in tasks)
    slots = sum(worker.slots for worker in knowing)
    running = [job_id for worker in knowing for job_id in worker.running]
    if any(len(worker.running) < worker.slots for worker in knowing):
        return None
    who = (
        "the only worker that takes it is"
        if len(knowing) == 1
        else f"all {len(knowing)} workers that take it are"
    )
    text = f"{who} busy ({words.counted(slots, 'slot')}) with {words.listed(running)}"
    return _why(
        job, Reason.BUSY, text, workers=[worker.id for worker in knowing], slots=slots, running=running
    )


def knows(worker: WorkerInfo, task: str) -> bool:
    """True when the worker lists the task; one that lists none at all does not say which it knows."""
    return not worker.tasks or task in worker.tasks


async def _at_the_engine(engine: Engine, job: Job, obstacles: Obstacles) -> Why | None:
    """Ask the engine: does it answer, and how much waits in its queue?"""
    ago = obstacles.delivered_ago
    facts: dict[str, Any] = {"engine": engine.name, "delivered_ago": ago, "ahead": obstacles.ahead}
    try:
        async with asyncio.timeout(ENGINE_ANSWERS_WITHIN):
            await asyncio.to_thread(engine.ping)
            depth = await asyncio.to_thread(engine.depth, job.queue)
    except (Unavailable, TimeoutError) as error:
        told = str(error) or f"it said nothing within {ENGINE_ANSWERS_WITHIN:g} s"
        text = (
            f"the engine {engine.name} does not answer: {told}. The store keeps the job and delivers it later"
        )
        return _why(job, Reason.ENGINE_DOWN, text, error=told, **facts)
    if ago is None and obstacles.ahead:
        return _in_line(job, obstacles)  # those before it are given out first
    if ago is None:
        text = f"it has not been given to the engine {engine.name} yet: a worker does that within moments"
        return _why(job, Reason.NOT_DELIVERED, text, depth=depth, **facts)
    text = f"it was given to the engine {engine.name} {words.duration(ago)} ago"
    if depth > 1:
        text += f" and waits there: {words.counted(depth, 'message')} are in its queue {job.queue}"
    elif depth == 1:
        text += f": the one message in its queue {job.queue} may be this job's"
    else:
        text += (
            f", whose queue {job.queue} is empty: a worker has just read it, or it will be delivered again"
        )
    return _why(job, Reason.AT_ENGINE, text, depth=depth, **facts)


def _in_line(job: Job, obstacles: Obstacles) -> Why:
    if obstacles.ahead:
        return _why(job, Reason.IN_LINE, _ahead(obstacles), ahead=obstacles.ahead)
    return _why(job, Reason.READY, "nothing is in its way: it may start at any moment", ahead=0)


def _and_ahead(obstacles: Obstacles) -> str:
    """Say who goes first when the limit lets somebody through: the moment that was told may be another job's."""
    return f"; {_ahead(obstacles)}" if obstacles.ahead else ""


def _ahead(obstacles: Obstacles) -> str:
    more = " or more" if obstacles.ahead >= MOST_AHEAD else ""
    goes = "goes" if obstacles.ahead == 1 else "go"
    return f"{words.counted(obstacles.ahead, 'job')}{more} of its line {goes} first"


async def check_known(
    store: Store,
    registered: Mapping[str, Task[Any, Any]],
    limited: Iterable[str] = (),
    *,
    queues: Iterable[str] = (),
    tasks: Iterable[str] = (),
) -> None:
    """Refuse names that nobody knows: nothing would happen, and nobody would notice. Known are the queues and tasks of
    the stored jobs, of the registered tasks and of the live workers, what is paused, and the queues that the
    application gave limits (``limited``). Raises `UnknownName`."""
    counts, workers, paused = await store.counts(), await store.workers(), await store.paused()
    known_queues = {count.queue for count in counts} | {task.options.queue for task in registered.values()}
    known_queues |= {queue for worker in workers for queue in worker.queues} | set(limited)
    known_queues |= {one.queue for one in paused if one.queue is not None}
    known_tasks = {count.task for count in counts} | set(registered)
    known_tasks |= {task for worker in workers for task in worker.tasks}
    known_tasks |= {one.task for one in paused if one.task is not None}
    for what, names, known in (("queue", queues, known_queues), ("task", tasks, known_tasks)):
        for name in names:
            if name not in known:
                raise UnknownName(what, name, sorted(known))


def unlisted_tasks(workers: Sequence[WorkerInfo], counts: Iterable[Count]) -> Iterator[str]:
    """Yield a sentence for each queue and task with waiting jobs that live workers take and none of them knows."""
    for count in _waiting(counts):
        taking = [worker for worker in at_work(workers) if count.queue in worker.queues]
        if taking and not any(knows(worker, count.task) for worker in taking):
            jobs = words.counted(count.count, "job")
            wait = "waits" if count.count == 1 else "wait"
            told = f"{jobs} of the task {count.task} {wait} in the queue {count.queue}"
            yield f"{told}, and no live worker that takes it knows that task"


def _waiting(counts: Iterable[Count]) -> list[Count]:
    """Add up what waits, by queue and task."""
    waiting: dict[tuple[str, str], int] = {}
    for one in counts:
        if one.count and one.status in (Status.PENDING, Status.SCHEDULED):
            waiting[one.queue, one.task] = waiting.get((one.queue, one.task), 0) + one.count
    return [
        Count(queue=queue, task=task, status=Status.PENDING, count=count)
        for (queue, task), count in sorted(waiting.items())
    ]


def forgotten(
    paused: Iterable[Paused], counts: Sequence[Count], *, now: float | None = None
) -> Iterator[Forgotten]:
    """Yield the pauses that are older than an hour and have jobs waiting behind them."""
    now = time.time() if now is None else now
    for one in paused:
        what, name = ("queue", one.queue) if one.queue is not None else ("task", str(one.task))
        behind = sum(
            count.count for count in counts if getattr(count, what) == name and count.status is Status.PENDING
        )
        if behind and now - one.at > LONG_PAUSED:
            jobs = f"{words.counted(behind, 'job')} {'waits' if behind == 1 else 'wait'}"
            told = f"the {what} {name} is paused since {words.when(one.at)}, and {jobs} behind it"
            flag = "--task " if what == "task" else ""
            yield Forgotten(told=told, resume=f"faena resume {flag}{shlex.quote(str(name))}")


def at_work(processes: Iterable[WorkerInfo]) -> list[WorkerInfo]:
    """Return those that take jobs; the others are servers."""
    return [one for one in processes if one.role == "worker"]


def other_engines(processes: Iterable[WorkerInfo], engine: Engine) -> Iterator[str]:
    """Yield a sentence for each worker or server whose engine is another one than here.

    No job is lost by it: what is not taken within seconds is delivered again, by each worker to its own engine.
    """
    for one in processes:
        if one.engine != engine.name:
            told = _server_elsewhere(one, engine) if one.role == "server" else _worker_elsewhere(one, engine)
            yield f"{told}. Start all of them with the same FAENA_ENGINE"


def _worker_elsewhere(worker: WorkerInfo, engine: Engine) -> str:
    runs = "direct (straight from the store)" if worker.engine == DIRECT else worker.engine
    if engine.capabilities.delivers:
        where = f"are delivered to {engine.name}"
    else:
        where = "are left in the store for direct workers"
    if worker.engine == DIRECT:
        sees = f"sees no message of {engine.name}, and they pile up there"
    else:
        sees = "finds them seconds later, when they are delivered again"
    return f"worker {worker.id} runs {runs}, and here jobs {where}: it {sees}"


def _server_elsewhere(server: WorkerInfo, engine: Engine) -> str:
    if server.engine == DIRECT:
        does, so = (
            "leaves its jobs in the store for direct workers",
            "its jobs are found seconds later, when they are ",
        )
        so += "delivered again"
    else:
        does, so = f"delivers its jobs to {server.engine}", "no message is taken there"
    return f"server {server.id} {does}, and here the engine is {engine.name}: {so}"
