"""Limits, pauses and schedules with a whole worker: served by an engine that delivers, and straight from the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from ringing import Ringing

from faena import Faena, InvalidArguments, JobRequest
from faena.client import Client
from faena.engines.direct import DirectEngine
from faena.job import Gate, Status, Window
from faena.loops.admit import LONGEST, Admit
from faena.ports.engine import Delivery
from faena.ports.records import Inserted, Query
from faena.settings import Settings
from faena.stores.memory import MemoryStore
from faena.testing.clock import FakeClock
from faena.testing.factories import JobFactory
from faena.worker import Worker, WorkerOptions

app = Faena("limited", settings=Settings())
app.queue("press", at_once=1)


class Counting:
    """How many run, and the most that ever did."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


counting = Counting()


@app.task(at_once=2)
async def export(number: int = 0) -> None:
    with counting:
        await asyncio.sleep(0.002)


@app.task
async def plain() -> None:
    with counting:
        await asyncio.sleep(0.002)


@app.task(rate="5/s")
async def post(number: int = 0) -> None: ...


class Crew:
    """A worker of the app, and a client beside it."""

    def __init__(self, store: MemoryStore, client: Client, worker: Worker) -> None:
        self.store, self.client, self.worker = store, client, worker

    async def enqueue(self, task: str, count: int, **fields: Any) -> list[Inserted]:
        return await self.client.enqueue_many([JobRequest(task=task, **fields) for _ in range(count)])

    async def until(self, holds: Callable[[dict[str, int]], bool]) -> None:
        async with asyncio.timeout(20):
            while True:
                counts: dict[str, int] = {}
                for count in await self.store.counts():
                    counts[count.status] = counts.get(count.status, 0) + count.count
                if holds(counts):
                    return
                await asyncio.sleep(0.005)


@asynccontextmanager
async def crew(engine: Any, other: Faena = app) -> AsyncIterator[Crew]:
    counting.most = 0
    store = MemoryStore()
    await store.open()
    client = Client(store, engine, other.tasks, queues=other.queues)  # type: ignore[arg-type]
    worker = Worker(
        tasks=other.tasks,
        store=store,  # type: ignore[arg-type]
        engine=engine,
        connect=store.beside,  # type: ignore[arg-type]
        options=WorkerOptions(queues=("default", "press"), threads=8, grace=5.0, lease=5.0),
        settings=other.settings,
        app_ref="test:app",
        queues=other.queues,
        schedules=other.schedules.values(),
    )
    running = asyncio.create_task(worker.run())
    try:
        yield Crew(store, client, worker)
    finally:
        worker.stop(now=True)
        await running
        await client.close()
        await store.close()


@pytest.fixture(params=["direct", "ringing"])
def engine(request: pytest.FixtureRequest) -> Any:
    return DirectEngine() if request.param == "direct" else Ringing()


async def test_no_more_run_at_once_than_may_and_slots_are_taken_again_at_once(engine: Any) -> None:
    async with crew(engine) as at_work:
        began = asyncio.get_running_loop().time()
        await at_work.enqueue("export", 60)
        await at_work.until(lambda counts: counts.get("completed") == 60)
        took = asyncio.get_running_loop().time() - began
    assert counting.most == 2
    assert took < 60 / 2 * LONGEST / 4  # far from a wait for the next look after each


async def test_the_limit_of_a_queue_holds_for_a_task_that_has_none(engine: Any) -> None:
    async with crew(engine) as at_work:
        await at_work.enqueue("plain", 10, queue="press")
        await at_work.until(lambda counts: counts.get("completed") == 10)
    assert counting.most == 1


async def test_a_limited_job_does_not_stand_in_the_way_of_another(engine: Any) -> None:
    async with crew(engine) as at_work:
        await at_work.enqueue("post", 50)
        plain = (await at_work.enqueue("plain", 1))[0].job
        assert (await at_work.client.wait(plain.id, 5)).status is Status.COMPLETED


async def test_what_a_rate_holds_back_goes_when_its_time_has_come(engine: Any) -> None:
    async with crew(engine) as at_work:
        await at_work.enqueue("post", 7)
        await at_work.until(lambda counts: counts.get("completed") == 5)
        assert len((await at_work.store.find(Query(statuses=(Status.PENDING,)))).jobs) == 2
        await at_work.until(lambda counts: counts.get("completed") == 7)


async def test_what_is_paused_waits_until_it_is_resumed(engine: Any) -> None:
    async with crew(engine) as at_work:
        await at_work.client.pause(task="plain")
        held = (await at_work.enqueue("plain", 1))[0].job
        await at_work.enqueue("export", 1)
        await at_work.until(lambda counts: counts.get("completed") == 1)
        assert (await at_work.client.get(held.id)).status is Status.PENDING
        await at_work.client.resume(task="plain")
        assert (await at_work.client.wait(held.id, 5)).status is Status.COMPLETED


async def test_a_worker_runs_the_schedules_of_its_app(engine: Any) -> None:
    other = Faena("timed", settings=Settings())
    other._tasks.update(app.tasks)
    other.schedule("each-second", plain, every=1, overlap="allow")
    async with crew(engine, other) as at_work:
        await at_work.until(lambda counts: counts.get("completed", 0) >= 1)
        (schedule,) = await at_work.client.schedules()
        assert (schedule.name, schedule.source) == ("each-second", "code:test:app")


async def test_a_worker_with_a_schedule_that_can_make_no_job_does_not_start() -> None:
    other = Faena("wrong", settings=Settings())
    other._tasks.update(app.tasks)
    other.schedule("wrong", plain, every=1, args={"nothing": "of the kind"})
    with pytest.raises(InvalidArguments):
        async with crew(DirectEngine(), other):
            pass


class World:
    """A store under a clock that a test moves, and what was delivered."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(clock=self.clock)
        self.jobs = JobFactory()
        self.delivered: list[str] = []
        self.admit = Admit(self.store, self.deliver)  # type: ignore[arg-type]

    async def deliver(self, deliveries: Any) -> None:
        self.delivered += [delivery.job_id for delivery in deliveries if isinstance(delivery, Delivery)]


async def test_admit_lets_through_what_may_go_and_sleeps_until_the_next_gate_opens() -> None:
    world = World()
    await world.store.open()
    gates = (Gate(name="g", windows=(Window(count=1, period=0.4),)),)
    jobs = world.jobs.several(2, gates=gates)
    await world.store.insert(jobs)
    await world.admit()
    assert world.delivered == [jobs[0].id]
    await world.store.claim([jobs[0].id], worker="w", lease=60, request="r")
    assert await world.admit() == pytest.approx(0.4)
    world.clock.advance(0.4)
    await world.admit()
    assert world.delivered == [jobs[0].id, jobs[1].id]


async def test_admit_is_nudged_by_attempts_that_may_have_given_back_a_slot() -> None:
    world = World()
    await world.store.open()
    assert await world.admit() == LONGEST
    world.admit.nudge(limited=False)
    assert not world.admit.nudged.is_set()
    world.admit.nudge(limited=True)
    assert world.admit.nudged.is_set()
    await world.store.insert(world.jobs.several(1, gates=(Gate(name="g", at_once=1),)))
    await world.admit()
    assert not world.admit.nudged.is_set()
    world.admit.nudge(limited=False)
    assert world.admit.nudged.is_set()


async def test_a_switched_off_queue_gets_no_jobs_of_schedules() -> None:
    other = Faena("off", settings=Settings(queue_enabled=False))
    other._tasks.update(app.tasks)
    other.schedule("each-second", plain, every=1)
    async with crew(DirectEngine(), other) as at_work:
        await at_work.store.insert([JobFactory().new(task="plain", args=b"{}")])
        await at_work.until(lambda counts: counts.get("completed") == 1)
        assert await at_work.client.schedules() == []
