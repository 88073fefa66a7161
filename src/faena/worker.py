"""The worker: one process (or one part of it) that takes jobs, runs them, and leaves nothing behind when it stops."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from faena.attempt import Why
from faena.batch import Batch
from faena.errors import EngineDown, InvalidArguments, StoreFault, Unavailable
from faena.executor import Executor
from faena.heartbeat import Heartbeat
from faena.insights import other_engines
from faena.intake import Intake, Pull, Serve
from faena.isolation.pool import Pool
from faena.job import Job, Record
from faena.loops.redeliver import Redeliver
from faena.loops.upkeep import Upkeep
from faena.making import Maker
from faena.ports.engine import Delivery, Engine, ServeOptions
from faena.ports.records import Claim, WorkerInfo
from faena.ports.store import Store
from faena.slots import MOST
from faena.starts import Timing
from faena.threads import Threads

if TYPE_CHECKING:
    from faena.options import QueueOptions
    from faena.settings import Settings
    from faena.task import Task
    from faena.timetable import Declared

logger = logging.getLogger("faena.worker")

SHIPPED: Final = "faena.shipped:app"
LAST_MINUTE: Final = 5.0
"""Seconds for the last outcomes to be stored, when the grace time is over."""
UNSTORED: Final = 4
"""Times the slots, and two full claims more: so many attempts may wait for the store before no more jobs are taken."""


class WorkerOptions(Record, frozen=True):
    """How a worker works. Durations are seconds."""

    queues: tuple[str, ...]
    """In order of precedence."""
    threads: int = 8
    """Jobs at once."""
    lease: float = 15.0
    grace: float = 30.0
    """For running jobs, from the first stop until they are handed back."""
    redeliver_after: float = 5.0
    """After which the engine may be held to have lost a job that nobody took."""
    cancel_grace: float = 10.0
    """From a cancellation until what can be stopped by force is."""
    max_jobs: int | None = None
    """Stop by itself after so many."""
    worker_id: str | None = None


class Worker:
    """Takes jobs from one engine and runs them. `run` once; `stop` from any thread or signal handler."""

    def __init__(
        self,
        *,
        tasks: Mapping[str, Task[Any, Any]],
        store: Store,
        engine: Engine,
        connect: Callable[[], Store],
        options: WorkerOptions,
        settings: Settings | None = None,
        app_ref: str | None = None,
        queues: Mapping[str, QueueOptions] | None = None,
        schedules: Iterable[Declared] = (),
    ) -> None:
        """``store`` is open on the loop of `run`; ``connect`` makes another one on the same jobs, for the
        heartbeat's loop; ``app_ref`` is what child processes load; ``queues`` are those with limits, and ``schedules``
        those declared in code. Raises `UnknownTask` and `InvalidArguments` for a schedule whose job can't be made."""
        self.id = options.worker_id or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self.options = options
        self._tasks = tasks
        self._store = store
        self._engine = engine
        self._connect = connect
        self._settings = settings
        self._app_ref = app_ref or SHIPPED
        self._started_at = time.time()
        self._started = 0
        self._stopping = False
        self._end_at = math.inf
        """When the grace time is over, by the monotonic clock."""
        self._recycled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._intake: Intake | None = None
        self._executor: Executor | None = None
        self._changed = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        """What tells the engine of jobs that were handed back."""
        self._handing_back = 0
        self._tell_engine = Batch(self._deliver_again)
        self._threads = Threads("faena-deliver")
        self._maker = Maker(tasks, queues or {})
        self._upkeep = self._make_upkeep(tuple(schedules))

    @property
    def recycled(self) -> bool:
        """It stopped because it has run ``max_jobs`` jobs."""
        return self._recycled

    @property
    def stuck(self) -> int:
        """How many functions were left behind and still run."""
        executor = self._executor
        if executor is None:
            return 0
        return executor.threads.busy + sum(not task.done() for task in self._work)

    async def run(self) -> None:
        """Work until stopped: then finish what runs within the grace time, and hand back the rest."""
        loop = self._loop = asyncio.get_running_loop()
        self._warm_up()
        pool = Pool(
            self._app_ref, environment=None if self._settings is None else self._settings.environment()
        )
        executor = self._executor = self._make_executor(pool)
        heartbeat = self._make_heartbeat(executor)
        heartbeat.start()
        self._upkeep.start()
        comparing = loop.create_task(self._compare_engines())
        intake = self._intake = self._make_intake()
        taking = loop.create_task(intake.run())
        taking.add_done_callback(lambda _: self._changed.set())
        logger.info(
            "worker %s takes jobs from %s", self.id, ", ".join(self.options.queues), extra=self._about
        )
        try:
            await self._until_stopped(taking)
        except BaseException:  # cancelled, or the intake broke: end as after a stop
            self.stop()
            raise
        finally:
            await self._drain(executor, taking)
            executor.close()
            await pool.close()
            comparing.cancel()
            await self._upkeep.stop()
            await asyncio.to_thread(heartbeat.stop)
            self._threads.close()
            logger.info("worker %s has stopped", self.id, extra=self._about)

    def stop(self, *, now: bool = False) -> None:
        """Take nothing new, and end within the grace time; ``now``: hand back at once what runs."""
        self._end_at = min(self._end_at, monotonic() + (0.0 if now else self.options.grace))
        self._stop_taking()

    def describe(self) -> WorkerInfo:
        """Return what the store is told of this worker at each beat. Any thread."""
        running = () if self._executor is None else tuple(one.job.id for one in self._executor.running.copy())
        return WorkerInfo(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            engine=self._engine.name,
            queues=self.options.queues,
            slots=self.options.threads,
            version=_version(),
            started_at=self._started_at,
            running=running,
            tasks=tuple(self._tasks),
            memory=_memory(),
        )

    @property
    def room(self) -> int:
        """How many jobs may be taken now."""
        if self._stopping or self._executor is None:
            return 0
        slots = self._executor.slots
        unstored = len(self._executor.running) - slots.busy
        room = min(slots.room, self.options.threads * UNSTORED + 2 * MOST - unstored)
        if self.options.max_jobs is not None:
            room = min(room, self.options.max_jobs - self._started)
        return room

    @property
    def ahead(self) -> int:
        """How many more may be read from an engine while others are being claimed."""
        return (
            0 if self._executor is None or self.options.max_jobs is not None else self._executor.slots.ahead
        )

    def changed(self) -> None:
        """Make `change` return."""
        self._changed.set()

    async def change(self) -> None:
        """Return when a function or an attempt has ended, or the worker was told to stop."""
        self._changed.clear()
        await self._changed.wait()

    def take(self, claim: Claim, timing: Timing, ended: Callable[[], None] | None = None) -> None:
        """Run a job, or hand it back if the worker takes nothing new any more."""
        assert self._executor is not None
        if self._stopping:
            self._handing_back += 1
            self._spawn(self._hand_back(claim, ended))
            return
        self._started += 1
        self._spawn(self._executor.execute(claim, timing, ended=ended))
        if self._started == self.options.max_jobs:
            self._recycled = True
            self._stop_taking()

    async def _compare_engines(self) -> None:
        """Say loudly when other workers of this store run another engine."""
        with suppress(Unavailable, StoreFault):
            for told in other_engines(await self._store.workers(), self._engine):
                logger.warning(told, extra=self._about)

    def _warm_up(self) -> None:
        """Build now what checks the tasks' arguments, so that the first jobs need not wait for it."""
        for task in self._tasks.values():
            if task.options.isolation == "none":
                with suppress(InvalidArguments):
                    task.load_args(b"{}")

    def _make_executor(self, pool: Pool) -> Executor:
        return Executor(
            tasks=self._tasks,
            store=self._store,
            settings=self._settings,
            pool=pool,
            slots=self.options.threads,
            default_timeout=600.0 if self._settings is None else self._settings.task_timeout,
            cancel_grace=self.options.cancel_grace,
            on_change=self._changed.set,
            on_released=self._redeliver,
            on_concluded=self._upkeep.ended if self._engine.capabilities.delivers else None,
        )

    def _make_upkeep(self, schedules: Sequence[Declared]) -> Upkeep:
        options, redeliver = self.options, None
        if self._engine.capabilities.delivers:
            queues, age = options.queues, options.redeliver_after
            redeliver = Redeliver(self._store, self._deliver, queues=queues, depth=self._depth, age=age)
        return Upkeep(
            self._store,
            self._deliver,
            lease=options.lease,
            maker=self._maker,
            redeliver=redeliver,
            schedules=schedules,
            app_ref=self._app_ref,
            enabled=self._settings is None or self._settings.queue_enabled,
        )

    def _make_heartbeat(self, executor: Executor) -> Heartbeat:
        return Heartbeat(
            connect=self._connect,
            running=executor.running,
            held=executor.held,
            describe=self.describe,
            lease=self.options.lease,
        )

    def _make_intake(self) -> Intake:
        options, store = self.options, self._store
        if not self._engine.capabilities.delivers:
            return Pull(store, self, queues=options.queues, worker=self.id, lease=options.lease)
        serve = ServeOptions(queues=options.queues, threads=options.threads, grace=options.grace)
        return Serve(store, self._engine, self, options=serve, worker=self.id, lease=options.lease)

    async def _until_stopped(self, taking: asyncio.Task[None]) -> None:
        while not self._stopping:
            if taking.done():
                taking.result()
                raise RuntimeError("the worker takes no more jobs, and nobody stopped it")
            await self.change()

    def _stop_taking(self) -> None:
        self._stopping = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop_intake)

    def _stop_intake(self) -> None:
        if self._intake is not None:
            self._intake.stop()
        self._changed.set()

    async def _drain(self, executor: Executor, taking: asyncio.Task[None]) -> None:
        """Wait for what runs while the grace time lasts; then hand it back, and wait a little for that."""
        self._stop_taking()
        executor.slots.close()
        await self._until_idle(executor, taking, until=lambda: self._end_at)
        for attempt in executor.running.copy():
            executor.stopping.stop_now(attempt, Why.RELEASE)
        last = monotonic() + LAST_MINUTE
        await self._until_idle(executor, taking, until=lambda: last)
        taking.cancel()
        if self._telling:
            await asyncio.wait(self._telling, timeout=max(last - monotonic(), 0.0))
        for attempt in executor.running:
            logger.error("an attempt could not be handed back; its lease will expire", extra=attempt.about)
        if self.stuck:
            logger.warning("%d functions do not end; they are left behind", self.stuck, extra=self._about)

    async def _until_idle(
        self, executor: Executor, taking: asyncio.Task[None], *, until: Callable[[], float]
    ) -> None:
        while executor.running or executor.slots.waiting or self._handing_back or not taking.done():
            left = until() - monotonic()
            if left <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(None if left == math.inf else left):
                    await self.change()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _hand_back(self, claim: Claim, ended: Callable[[], None] | None) -> None:
        try:
            if self._executor is not None:
                await self._executor.hand_back(claim)
        finally:
            self._handing_back -= 1
            if ended is not None:
                ended()
            self._changed.set()

    def _redeliver(self, job: Job) -> None:
        """A job was handed back: tell the engine, for other workers. One with limits is held back: `admit` has it."""
        if self._maker.limited(job.task, job.queue):
            return
        delivery = Delivery(job_id=job.id, task=job.task, queue=job.queue, priority=job.priority, first=True)
        telling = asyncio.ensure_future(self._tell_engine(delivery))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _deliver_again(self, deliveries: Sequence[Delivery]) -> Sequence[None]:
        await self._deliver(deliveries)
        return [None] * len(deliveries)

    async def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Hand jobs to the engine, if it delivers. When it is down they stay pending: redeliver finds them."""
        if not self._engine.capabilities.delivers:
            return
        try:
            await self._threads.start(partial(self._engine.deliver, deliveries))
        except EngineDown as error:
            logger.warning("%d jobs wait for the engine: %s", len(deliveries), error, extra=self._about)

    async def _depth(self, queue: str) -> int:
        depth: int = await self._threads.start(partial(self._engine.depth, queue))
        return depth

    @property
    def _about(self) -> dict[str, object]:
        return {"worker": self.id, "engine": self._engine.name}


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("faena")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _memory() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
