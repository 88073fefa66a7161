"""`Faena`: a user's tasks and packs, and the way from plain code to their jobs. An instance, never a global."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast

from faena.durations import Duration
from faena.errors import InvalidOptions
from faena.handle import JobHandle, ended
from faena.locks import ProcessLock
from faena.options import QueueOptions
from faena.pack import Pack, Registry
from faena.rates import AtOnceLike, RateLike
from faena.schedule import CatchUp, Overlap
from faena.task import JobRequest, Submitter, Task

if TYPE_CHECKING:
    from faena.client import Client
    from faena.insights import Why
    from faena.portal import Portal, Portals
    from faena.ports.engine import Engine
    from faena.ports.records import CancelResult, Inserted
    from faena.ports.store import Store
    from faena.settings import Settings
    from faena.stores.memory import MemoryStore
    from faena.timetable import Declared

R = TypeVar("R")
log = logging.getLogger(__name__)


class Wiring(Protocol):
    """Who makes an app's store and engine: the module `faena.wiring`, or a test's own."""

    def make_store(self, settings: Settings) -> Store:
        """Return a store, not yet opened."""
        ...

    def make_engine(self, settings: Settings) -> Engine:
        """Return an engine."""
        ...


class Faena(Registry):
    """The registry of tasks and packs: ``app = Faena()``. Nothing is opened, and no setting read, before the first job.

    One application has one, in a module that those who enqueue and the workers import.
    """

    def __init__(
        self, name: str = "faena", settings: Settings | None = None, *, wiring: Wiring | None = None
    ) -> None:
        super().__init__(name)
        self._settings = settings
        self._own_wiring = self._wiring = wiring
        self._packs: dict[str, Pack] = {}
        self._queues: dict[str, QueueOptions] = {}
        self._schedules: dict[str, Declared] = {}
        self._clock: Callable[[], float] = time.time
        self._portals: Portals | None = None
        self._first = ProcessLock()
        """Of threads that come at the same time for the first time: they get the same."""

    @property
    def settings(self) -> Settings:
        """The settings, read from the environment at the first use unless they were given."""
        if self._settings is None:
            from faena.settings import Settings

            self._settings = Settings.load()
        return self._settings

    @property
    def packs(self) -> Mapping[str, Pack]:
        """The included packs by their names."""
        return MappingProxyType(self._packs)

    def include(self, pack: Pack) -> None:
        """Add a pack's tasks, bound to this app; raises `InvalidOptions` when one of their names is taken."""
        if pack.name in self._packs:
            raise InvalidOptions(f"{self.name!r} includes the pack {pack.name!r} already")
        taken = sorted(set(pack.tasks) & set(self._tasks))
        if taken:
            raise InvalidOptions(
                f"the pack {pack.name!r} brings tasks whose names are taken: {', '.join(taken)}"
            )
        for task in pack.tasks.values():
            self._add(task.bound_to(self))
        self._packs[pack.name] = pack

    @property
    def queues(self) -> Mapping[str, QueueOptions]:
        """The queues that have limits, by their names."""
        return MappingProxyType(self._queues)

    def queue(self, name: str, *, rate: RateLike | None = None, at_once: AtOnceLike | None = None) -> None:
        """Limit the jobs of a queue, all tasks together and besides the tasks' own limits: ``app.queue("media",
        at_once=2)``. Call it before the first job. Raises `InvalidOptions`."""
        if name in self._queues:
            raise InvalidOptions(f"{self.name!r} has limits for the queue {name!r} already")
        self._queues[name] = QueueOptions(name=name, rate=rate, at_once=at_once)

    @property
    def schedules(self) -> Mapping[str, Declared]:
        """The schedules that were declared in code, by their names."""
        return MappingProxyType(self._schedules)

    def schedule(
        self,
        name: str,
        task: Task[Any, Any] | str,
        *,
        cron: str | None = None,
        every: Duration | None = None,
        start: datetime | None = None,
        timezone: str = "UTC",
        args: Mapping[str, object] | None = None,
        catch_up: CatchUp | Literal["one", "all", "none"] = CatchUp.ONE,
        overlap: Overlap | Literal["skip", "allow"] = Overlap.SKIP,
        queue: str | None = None,
        priority: int | None = None,
    ) -> None:
        """Declare that workers make a job of a task at each tick: ``cron="0 3 * * *"`` in a ``timezone``, or ``every``
        so many seconds (counted from ``start``; without it from the epoch, so that 300 means :00, :05, :10…).

        ``catch_up`` says what becomes of ticks that passed while no worker ran, ``overlap`` of a tick while the job
        of an earlier one still lives. Raises `InvalidOptions`; with arguments that do not fit no worker starts.
        """
        from faena.timetable import Declared

        if name in self._schedules:
            raise InvalidOptions(f"{self.name!r} has a schedule named {name!r} already")
        self._schedules[name] = Declared(
            name=name,
            task=task if isinstance(task, str) else task.name,
            args=args or {},
            cron=cron,
            every=every,
            start=start,
            timezone=timezone,
            catch_up=catch_up,
            overlap=overlap,
            queue=queue,
            priority=priority,
        )

    def submit(self, requests: Sequence[JobRequest]) -> list[JobHandle]:
        """Store jobs and hand them to the engine; blocks. `Task.enqueue` and `Task.enqueue_many` come here."""
        return self._handles(self.ask(lambda client: _submit(client, requests)))

    async def asubmit(self, requests: Sequence[JobRequest]) -> list[JobHandle]:
        """Store jobs and hand them to the engine, from any event loop."""
        return self._handles(await self.aask(lambda client: _submit(client, requests)))

    def get(self, job_id: str) -> JobHandle:
        """Return a job; raises `NotFound`."""
        return JobHandle(self.ask(lambda client: client.get(job_id)), self)

    async def aget(self, job_id: str) -> JobHandle:
        """Return a job; raises `NotFound`."""
        return JobHandle(await self.aask(lambda client: client.get(job_id)), self)

    def cancel(self, job_id: str) -> CancelResult:
        """Cancel a waiting job at once, ask a running one to stop; raises `NotFound`."""
        return self.ask(lambda client: client.cancel(job_id))

    async def acancel(self, job_id: str) -> CancelResult:
        """Cancel a waiting job at once, ask a running one to stop; raises `NotFound`."""
        return await self.aask(lambda client: client.cancel(job_id))

    def retry(self, job_id: str) -> JobHandle:
        """Run a job that has ended once more, as a new job; raises `NotFound`, `Conflict`."""
        return self._handle(self.ask(lambda client: client.retry(job_id)))

    async def aretry(self, job_id: str) -> JobHandle:
        """Run a job that has ended once more, as a new job; raises `NotFound`, `Conflict`."""
        return self._handle(await self.aask(lambda client: client.retry(job_id)))

    def pause(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Start no more jobs of a queue, or of a task; those that run go on. False: it was paused already."""
        return self.ask(lambda client: client.pause(queue=queue, task=task))

    async def apause(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Start no more jobs of a queue, or of a task; those that run go on. False: it was paused already."""
        return await self.aask(lambda client: client.pause(queue=queue, task=task))

    def resume(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Start jobs of a queue, or of a task, again. False: it was not paused."""
        return self.ask(lambda client: client.resume(queue=queue, task=task))

    async def aresume(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Start jobs of a queue, or of a task, again. False: it was not paused."""
        return await self.aask(lambda client: client.resume(queue=queue, task=task))

    def why(self, job_id: str) -> Why:
        """Say why a job is not running; raises `NotFound`."""
        return self.ask(lambda client: client.why(job_id))

    async def awhy(self, job_id: str) -> Why:
        """Say why a job is not running; raises `NotFound`."""
        return await self.aask(lambda client: client.why(job_id))

    def wait(self, job_id: str, timeout: Duration | None = None) -> Any:
        """Block until a job has ended and return its result; raises `WaitTimeout`, `JobFailed`, `JobCancelled`."""
        return JobHandle(self.ask(ended(job_id, timeout)), self).result

    async def await_(self, job_id: str, timeout: Duration | None = None) -> Any:
        """Wait as `wait` does, without blocking the loop."""
        return JobHandle(await self.aask(ended(job_id, timeout)), self).result

    def ask(self, question: Callable[[Client], Awaitable[R]]) -> R:
        """Put a question to the client of this app's own loop; blocks until it is answered."""
        return self._portal().call(question)

    async def aask(self, question: Callable[[Client], Awaitable[R]]) -> R:
        """Put a question to the client of this app's own loop, from any event loop."""
        return await self._portal().acall(question)

    def close(self) -> None:
        """Let go of the store and the engine. The next call opens them again; at exit this happens by itself."""
        if self._portals is not None:
            self._portals.close()

    async def aclose(self) -> None:
        """Let go of the store and the engine, without blocking the loop."""
        import asyncio

        await asyncio.to_thread(self.close)

    def use(self, settings: Settings) -> None:
        """Take these settings in place of the environment's, or of those given in the code (a command's flags win)."""
        if settings != self._settings:
            self.close()
            self._settings, self._wiring = settings, self._own_wiring

    @contextmanager
    def on(
        self, wiring: Wiring, settings: Settings, *, clock: Callable[[], float] = time.time
    ) -> Iterator[None]:
        """Stand on another store and engine (and clock) for the length of a ``with``; for tests."""
        before = self._settings, self._own_wiring, self._wiring, self._clock
        self.close()
        self._settings, self._own_wiring, self._wiring, self._clock = settings, wiring, wiring, clock
        try:
            yield
        finally:
            self.close()
            self._settings, self._own_wiring, self._wiring, self._clock = before

    def make_store(self) -> Store:
        """Return a store on this app's jobs, not yet opened: another one at each call, each for one event loop."""
        return self._wired().make_store(self.settings)

    def make_engine(self) -> Engine:
        """Return this app's engine: another one at each call."""
        return self._wired().make_engine(self.settings)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Client]:
        """Open a store and an engine for the running loop, and close them at the end: ``async with app.connect() as
        client``."""
        from faena.client import Client

        store, engine = self.make_store(), self.make_engine()
        try:
            await store.open()
            enabled = self.settings.queue_enabled
            client = Client(store, engine, self.tasks, queues=self.queues, enabled=enabled, clock=self._clock)
            try:
                yield client
            finally:
                await client.close()
        finally:
            await store.close()
            engine.close()

    def _wired(self) -> Wiring:
        if (wiring := self._wiring) is not None:
            return wiring
        settings = self.settings
        made: _Selected | None = None
        with self._first.own():
            if (wiring := self._wiring) is None:
                self._wiring = wiring = made = _Selected(settings)
        if made is not None:
            made.warn()  # a log handler may come here itself
        return wiring

    def _portal(self) -> Portal:
        if self._portals is None:
            from faena.portal import Portals

            with self._first.own():
                self._portals = self._portals or Portals(self.connect)
        return self._portals.get()

    def _handles(self, inserted: Sequence[Inserted]) -> list[JobHandle]:
        return [self._handle(one) for one in inserted]

    def _handle(self, inserted: Inserted) -> JobHandle:
        return JobHandle(inserted.job, self, duplicate=inserted.duplicate, conflict=inserted.conflict)

    def _submitter(self) -> Submitter:
        return self

    def __repr__(self) -> str:
        return f"<Faena {self.name}: {len(self.tasks)} tasks>"


class _Selected:
    """The wiring that the settings select, decided once."""

    def __init__(self, settings: Settings) -> None:
        from faena import wiring

        self._selection = wiring.select(settings)
        self._memory: MemoryStore | None = None
        if self._selection.store == "memory":
            self._memory = cast("MemoryStore", wiring.make_store(settings, self._selection))

    def warn(self) -> None:
        """Log what could be better."""
        for warning in self._selection.warnings:
            log.warning(warning)
        if self._selection.alone is not None:
            log.warning(
                "REDIS_URL is set and not used: what this process enqueues is kept in files, and only workers that "
                "fell back to files too (`faena up`, or FAENA_STORE=sqlite) will run it"
            )

    def make_store(self, settings: Settings) -> Store:
        """Return a store. In memory all are doors to the same jobs, or one loop would not see another's."""
        from faena import wiring

        if self._memory is not None:
            return self._memory.beside()
        return wiring.make_store(settings, self._selection)

    def make_engine(self, settings: Settings) -> Engine:
        """Return an engine."""
        from faena import wiring

        return wiring.make_engine(settings, self._selection)


async def _submit(client: Client, requests: Sequence[JobRequest]) -> list[Inserted]:
    if len(requests) == 1:
        return [await client.enqueue(requests[0])]
    return await client.enqueue_many(requests)
