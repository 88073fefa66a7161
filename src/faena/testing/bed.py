"""`Testbed`: an app's jobs in a test, run when the test says so, on a real store whose clock the test moves."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec

from faena.app import Faena
from faena.durations import Duration
from faena.durations import seconds as to_seconds
from faena.events import Event
from faena.handle import JobHandle
from faena.job import WAITING, Job, Status
from faena.portal import Portal
from faena.ports.records import Query
from faena.ports.store import Store, StoreOptions
from faena.settings import Settings
from faena.starts import Timing
from faena.stores.memory import MemoryStore
from faena.task import Task
from faena.testing.clock import FakeClock

if TYPE_CHECKING:
    from faena.client import Client
    from faena.engines.direct import DirectEngine
    from faena.executor import Executor
    from faena.loops.cron import Cron
    from faena.ports.engine import Delivery

MakeStore = Callable[[FakeClock], Store]
Answer = TypeVar("Answer")

LEASE: Final = 1e9
"""Seconds: no lease expires while a test steps through the hours."""
BATCH: Final = 500
MANY: Final = 1000
"""Attempts after which `Testbed.run_all` takes it that there is no end."""


class Testbed:
    """Stands an app on a store of its own for the length of a ``with``, and runs its jobs when it is told to.

    Enqueue as ever, look at what was enqueued, run it, look at what became of it. An attempt is a worker's: the
    same executor, arguments through JSON, retries, events, checkpoints. Jobs run one at a time, in the order of a
    `direct` worker. All calls block, and can be made in plain tests and in async ones.
    """

    __test__ = False

    def __init__(
        self,
        app: Faena,
        *,
        settings: Settings | None = None,
        clock: FakeClock | None = None,
        make_store: MakeStore | None = None,
    ) -> None:
        """``make_store`` returns, at each call, another store on the same jobs that reads ``clock``; without it they
        are in memory."""
        self.app = app
        self.clock = clock or FakeClock()
        self.settings = settings or Settings.model_validate({})
        self._make_store = make_store or _in_memory(self.clock, self.settings)
        self._stack = ExitStack()
        self._portal: Portal | None = None
        self._executor: Executor | None = None
        self._cron: Cron | None = None
        self._claims = 0

    def __enter__(self) -> Self:
        self._stack.enter_context(self.app.on(self, self.settings, clock=self.clock))
        try:
            self._portal = Portal(self.app.connect)
            self._stack.callback(self._portal.close)
            self._ask(self._open)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._ask(self._close)
        finally:
            self._stack.close()
            self._portal = None

    def make_store(self, settings: Settings) -> Store:
        """Return a store for the app."""
        return self._make_store(self.clock)

    def make_engine(self, settings: Settings) -> DirectEngine:
        """Return an engine for the app: one that needs none."""
        from faena.engines.direct import DirectEngine

        return DirectEngine()

    def jobs(
        self, task: Task[Any, Any] | str | None = None, *, status: Status | str | None = None
    ) -> list[Job]:
        """Return the jobs (of a task, of a status) in the order in which they were enqueued. Raises ValueError for
        what is no status."""
        query = Query(
            tasks=() if task is None else (_name(task),),
            statuses=() if status is None else (Status(status),),
            limit=BATCH,
        )
        return self._ask(lambda client: _all(client.store, query))

    def job(self, job: JobHandle | Job | str) -> Job:
        """Return a job as it stands now; raises `NotFound`."""
        return self._ask(lambda client: client.get(_id(job)))

    def events(self, job: JobHandle | Job | str) -> list[Event]:
        """Return what a job has told, in order."""

        async def read(client: Client) -> list[Event]:
            story = await client.store.story(_id(job))
            return [] if story is None else [*story.events]

        return self._ask(read)

    def enqueued(self, task: Task[Any, Any] | str, /, **args: Any) -> Job:
        """Fail unless a job of this task was enqueued with (at least) these arguments; returns the latest."""
        jobs = self.jobs(task)
        found = [job for job in jobs if self._has(job, args)]
        if not found:
            told = "; ".join(_shown(job) for job in jobs) or "none of it"
            wanted = f"{_name(task)}({', '.join(f'{key}={value!r}' for key, value in args.items())})"
            raise AssertionError(f"{wanted} was not enqueued. What was: {told}")
        return found[-1]

    def not_enqueued(self, task: Task[Any, Any] | str, /, **args: Any) -> None:
        """Fail if a job of this task was enqueued with (at least) these arguments."""
        found = [job for job in self.jobs(task) if self._has(job, args)]
        if found:
            raise AssertionError(f"enqueued: {'; '.join(_shown(job) for job in found)}")

    def run_next(self) -> Job | None:
        """Run one attempt of the next pending job; returns the job as it stands then, None if none is pending."""
        return self._ask(self._run_next)

    def run_pending(self) -> list[Job]:
        """Run what is pending, and what that enqueues, until nothing is; returns each job as its attempt left it. What
        is for later, or waits for its retry, stays: see `advance`."""
        return self._ask(lambda client: self._run_pending(client, MANY))

    def advance(self, seconds: Duration) -> list[Job]:
        """Move the clock, from tick to tick of the app's schedules; returns the jobs whose time has come. They are
        pending then: `run_pending` runs them. (Nothing runs on the way: a schedule that skips overlaps makes one job.)
        Raises ValueError for less than nothing.
        """
        step = to_seconds(seconds)
        if step < 0:
            raise ValueError(f"the testbed's clock moves forward: {step:g} is less than no time at all")
        return self._ask(lambda client: self._advance(client, step))

    def run_all(self) -> list[Job]:
        """Run everything to its end, moving the clock to each job that is for later and to each limit that opens;
        returns as `run_pending`. What is paused stays. Fails after a thousand attempts."""
        return self._ask(self._run_all)

    async def _open(self, client: Client) -> None:
        from faena.executor import Executor
        from faena.isolation.pool import Pool
        from faena.loops.cron import Cron
        from faena.making import Maker

        self._executor = Executor(
            tasks=_Inline(self.app.tasks),
            store=client.store,
            settings=self.settings,
            pool=Pool("faena.shipped:app"),
            default_timeout=self.settings.task_timeout,
            on_change=lambda: None,
            on_released=lambda job: None,
        )
        self._cron = Cron(
            client.store,
            _nothing,
            maker=Maker(self.app.tasks, self.app.queues),
            declared=tuple(self.app.schedules.values()),
            app_ref="testbed",
            clock=self.clock,
        )
        await self._cron()

    async def _close(self, client: Client) -> None:
        if self._executor is not None:
            self._executor.close()

    async def _run_next(self, client: Client) -> Job | None:
        assert self._executor is not None
        self._claims += 1
        claims = await client.store.claim_next(
            await self._queues(client),
            worker="testbed",
            lease=LEASE,
            limit=1,
            request=f"testbed:{self._claims}",
        )
        if not claims:
            return None
        claim = msgspec.structs.replace(
            claims[0], call_within=None
        )  # the bed's clock does not move meanwhile
        now = monotonic()
        await self._executor.execute(claim, Timing(asked=now, lease_until=now + LEASE))
        return await client.get(claim.job.id)

    async def _run_pending(self, client: Client, limit: int) -> list[Job]:
        ran: list[Job] = []
        while job := await self._run_next(client):
            ran.append(job)
            if len(ran) >= limit:
                raise AssertionError(
                    f"{MANY} attempts were run, and there is no end: the last was {_shown(job)}"
                )
        return ran

    async def _run_all(self, client: Client) -> list[Job]:
        ran: list[Job] = []
        for _ in range(3 * MANY):
            await _promote(client)
            some = await self._run_pending(client, MANY - len(ran))
            ran += some
            if some:
                continue
            store = client.store
            looked = await store.promote(limit=BATCH), await store.admit(limit=BATCH)
            waits = [one.next_in for one in looked if one.next_in is not None]
            if not waits:
                return ran
            await self._move(client, self.clock.now + max(min(waits), 0.001))
        raise AssertionError("the clock was moved again and again, and there are still jobs for later")

    async def _advance(self, client: Client, seconds: float) -> list[Job]:
        pending = Query(statuses=(Status.PENDING,), limit=BATCH)
        before = {job.id for job in await _all(client.store, pending)}
        await self._move(client, self.clock.now + seconds)
        return [job for job in await _all(client.store, pending) if job.id not in before]

    async def _move(self, client: Client, until: float) -> None:
        """Let each tick of a schedule come at its own time."""
        assert self._cron is not None
        while self.clock.now < until:
            ahead = [one.next_at for one in await client.store.schedules() if not one.paused and one.next_at]
            stop = min([until, *(at for at in ahead if at > self.clock.now)])
            self.clock.advance(stop - self.clock.now)
            await self._cron()
            await _promote(client)
        self.clock.advance(until - self.clock.now)
        await _promote(client)

    async def _queues(self, client: Client) -> list[str]:
        """All queues with jobs, in the order of a worker that is told none."""
        from faena.wiring import worker_queues

        found = {count.queue for count in await client.store.counts() if count.status in WAITING}
        known = worker_queues(self.settings, self.app)
        return [*known, *sorted(found - {*known})]

    def _has(self, job: Job, args: Mapping[str, Any]) -> bool:
        task = self.app.tasks.get(job.task)
        given = msgspec.json.decode(job.args) if task is None else task.load_args(job.args)
        return all(name in given and given[name] == value for name, value in args.items())

    def _ask(self, question: Callable[[Client], Awaitable[Answer]]) -> Answer:
        if self._portal is None:
            raise AssertionError("the testbed is used outside its `with`")
        return self._portal.call(question)


class _Inline(Mapping[str, Task[Any, Any]]):
    """Tasks that would run in child processes run in threads, where a test's patches hold and its debugger sees."""

    def __init__(self, tasks: Mapping[str, Task[Any, Any]]) -> None:
        self._tasks = tasks

    def __getitem__(self, name: str) -> Task[Any, Any]:
        task = self._tasks[name]
        if task.options.isolation == "none":
            return task
        inline = copy.copy(task)
        inline.options = msgspec.structs.replace(task.options, isolation="none", limits=None)
        return inline

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def _in_memory(clock: FakeClock, settings: Settings) -> MakeStore:
    options = StoreOptions(result_ttl=settings.result_ttl, failure_ttl=settings.failure_ttl)
    store = MemoryStore(options=options, clock=clock)
    return lambda _: store.beside()


async def _all(store: Store, query: Query) -> list[Job]:
    jobs: list[Job] = []
    while True:
        page = await store.find(query)
        jobs += page.jobs
        if page.cursor is None:
            return jobs[::-1]
        query = msgspec.structs.replace(query, cursor=page.cursor)


async def _promote(client: Client) -> None:
    while (await client.store.promote(limit=BATCH)).next_in == 0:
        pass


async def _nothing(deliveries: Sequence[Delivery]) -> None:
    """Jobs are claimed from the store: nobody delivers."""


def _name(task: Task[Any, Any] | str) -> str:
    return task if isinstance(task, str) else task.name


def _id(job: JobHandle | Job | str) -> str:
    return job if isinstance(job, str) else job.id


def _shown(job: Job) -> str:
    return f"{job.task}({job.args.decode()}) {job.status}"
