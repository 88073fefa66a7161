"""The loop that makes the jobs of schedules: with several at once, over daylight-saving changes and clock jumps."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from faena import AtOnce, Faena, InvalidArguments, JobRequest, UnknownTask
from faena.client import Client
from faena.engines.direct import DirectEngine
from faena.job import Job, NewJob, Outcome, Status, Step
from faena.loops.cron import LONGEST, Cron
from faena.making import Maker
from faena.ports.engine import Delivery
from faena.ports.records import Inserted, Query
from faena.schedule import Schedule
from faena.stores.memory import MemoryStore
from faena.stores.sqlite.store import SQLiteStore
from faena.testing.clock import FakeClock
from faena.ticks import ticks

NOW = 1_800_000_000.0
HOUR = 3600.0
app = Faena("shop")


@app.task
def clean(days: int = 7) -> None: ...


@app.task(at_once=AtOnce(1))
def alone() -> None: ...


class NotingStore(MemoryStore):
    """Notes which ticks were taken."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.taken: list[float] = []

    async def tick(
        self, name: str, *, at: float, next_at: float | None, jobs: Sequence[NewJob], missed: int = 0
    ) -> list[Inserted] | None:
        answers = await super().tick(name, at=at, next_at=next_at, jobs=jobs, missed=missed)
        if answers is not None:
            self.taken += [at, *([None] * (len(answers) - 1))]  # type: ignore[list-item]
        return answers


class World:
    """A store, its clock, the app's schedules put as they are asked for, and what was delivered."""

    def __init__(self, now: float = NOW) -> None:
        self.clock = FakeClock(now)
        self.store = NotingStore(self.clock)
        self.delivered: list[str] = []
        self.nudges = 0
        self.client = Client(self.store, DirectEngine(), app.tasks, clock=self.clock)  # type: ignore[arg-type]

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.delivered += [delivery.job_id for delivery in deliveries]

    def cron(self, other: Faena = app, clock: FakeClock | None = None, app_ref: str = "shop:app") -> Cron:
        def nudge() -> None:
            self.nudges += 1

        return Cron(
            self.store,  # type: ignore[arg-type]
            self.deliver,
            maker=Maker(other.tasks, other.queues),
            declared=tuple(other.schedules.values()),
            app_ref=app_ref,
            clock=clock or self.clock,
            on_held_back=nudge,
        )

    async def put(self, name: str = "s", task: str = "clean", **fields: Any) -> Schedule:
        return await self.client.put_schedule(name, task, **fields)

    async def finish_all(self) -> None:
        for job in await self.jobs(Status.PENDING):
            (claim,) = await self.store.claim([job.id], worker="w", lease=60, request=f"r-{job.id}")
            await self.store.finish([Outcome(job_id=job.id, token=claim.job.token, step=Step.COMPLETE)])

    async def jobs(self, *statuses: Status) -> list[Job]:
        return [*(await self.store.find(Query(statuses=statuses, limit=500))).jobs]

    async def the(self, name: str = "s") -> Schedule:
        return await self.client.schedule(name)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.store.open()
    return made


async def test_a_job_is_made_and_delivered_at_each_tick(world: World) -> None:
    await world.put(every=60, args={"days": 3})
    cron = world.cron()
    assert await cron() == LONGEST
    for number in range(1, 4):
        world.clock.advance(60)
        await cron()
        await cron()
        assert len(world.delivered) == number
        await world.finish_all()
    assert {job.args for job in await world.jobs()} == {b'{"days":3}'}
    assert (await world.the()).runs == 3


async def test_the_loop_sleeps_until_the_next_tick(world: World) -> None:
    await world.put(every=60)
    world.clock.now = NOW + 59.75
    assert await world.cron()() == pytest.approx(0.25)


@pytest.mark.parametrize("zone", ["Europe/Madrid", "America/New_York"])
@pytest.mark.parametrize("cron", ["30 2 * * *", "30 1 * * *", "*/20 * * * *", "0 3 * * *"])
@pytest.mark.parametrize("day", ["2026-03-07", "2026-03-28", "2026-10-24", "2026-10-31"])
async def test_two_schedulers_take_each_tick_once_over_a_change_of_the_clocks(
    zone: str, cron: str, day: str
) -> None:
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()
    world = World(begin)
    await world.store.open()
    schedule = await world.put(cron=cron, timezone=zone, overlap="allow")
    one, two = world.cron(), world.cron()
    chance = random.Random(day)
    while world.clock.now < begin + 72 * HOUR:
        world.clock.advance(chance.uniform(60, 600))
        for scheduler in chance.sample([one, two], 2):
            await scheduler()
    expected = [tick for tick in islice(ticks(schedule, begin), 400) if tick <= world.clock.now]
    assert world.store.taken == expected
    assert (await world.the()).runs == len(expected)


async def test_several_schedulers_on_one_database_make_one_job_for_each_tick(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    stores = [SQLiteStore(tmp_path / "faena.db", clock=clock) for _ in range(3)]
    for store in stores:
        await store.open()
    delivered: list[str] = []

    async def deliver(deliveries: Sequence[Delivery]) -> None:
        delivered.extend(delivery.job_id for delivery in deliveries)

    try:
        client = Client(stores[0], DirectEngine(), app.tasks, clock=clock)
        await client.put_schedule("s", "clean", cron="*/5 * * * *", overlap="allow")
        maker = Maker(app.tasks, {})
        crons = [
            Cron(store, deliver, maker=maker, app_ref=str(n), clock=clock) for n, store in enumerate(stores)
        ]
        for _ in range(50):
            clock.advance(300)
            await asyncio.gather(*(cron() for cron in crons))
        (schedule,) = await client.schedules()
        assert (schedule.runs, schedule.skipped) == (50, 0)
        assert len({*delivered}) == len(delivered) == 50
    finally:
        for store in stores:
            await store.close()


async def test_a_clock_that_jumps_and_comes_back_makes_no_tick_twice(world: World) -> None:
    schedule = await world.put(every=600, overlap="allow")
    ahead, right = FakeClock(NOW + HOUR), world.clock
    wrong, other = world.cron(clock=ahead), world.cron()
    chance = random.Random(1)
    while right.now < NOW + 6 * HOUR:
        right.advance(120)
        ahead.now = right.now + chance.choice([-HOUR, 0.0, HOUR])
        for scheduler in (wrong, other):
            await scheduler()
    taken = world.store.taken
    assert taken == sorted({*taken})
    assert {*taken} <= {*islice(ticks(schedule, NOW), 100)}
    found = await world.the()
    assert found.runs + found.skipped >= 36
    assert found.runs == len(taken)


async def test_of_missed_ticks_one_job_is_made(world: World) -> None:
    await world.put(every=60)
    world.clock.advance(10 * HOUR)
    await world.cron()()
    found = await world.the()
    assert (found.runs, found.skipped, found.next_at) == (1, 599, world.clock.now + 60)


async def test_missed_ticks_can_all_be_made_up_for_a_hundred_at_a_time(world: World) -> None:
    await world.put(every=60, catch_up="all", overlap="allow")
    world.clock.advance(150 * 60)
    cron = world.cron()
    assert await cron() == 0.0
    assert len(world.delivered) == 100
    assert await cron() > 0.0
    assert (len(world.delivered), (await world.the()).runs) == (150, 150)


async def test_missed_ticks_can_be_let_go(world: World) -> None:
    await world.put(every=HOUR, catch_up="none")
    world.clock.advance(10 * HOUR + 1800)
    await world.cron()()
    found = await world.the()
    assert (world.delivered, found.runs) == ([], 0)
    assert found.next_at is not None
    assert found.next_at > world.clock.now


async def test_a_tick_is_skipped_while_the_job_before_it_lives(world: World) -> None:
    await world.put("skips", every=60)
    await world.put("overlaps", every=60, overlap="allow")
    cron = world.cron()
    for _ in range(3):
        world.clock.advance(60)
        await cron()
    skips, overlaps = await world.the("skips"), await world.the("overlaps")
    assert (skips.runs, skips.skipped) == (1, 2)
    assert (overlaps.runs, overlaps.skipped) == (3, 0)
    await world.finish_all()
    world.clock.advance(60)
    await cron()
    assert (await world.the("skips")).runs == 2


async def test_a_job_that_is_limited_is_left_to_the_loop_that_lets_through(world: World) -> None:
    await world.put(task="alone", every=60)
    world.clock.advance(60)
    await world.cron()()
    assert (world.delivered, world.nudges) == ([], 1)
    assert len(await world.jobs(Status.PENDING)) == 1


async def test_a_schedule_of_a_task_that_is_unknown_here_is_left_to_others(world: World) -> None:
    await world.put(every=60)
    world.clock.advance(60)
    await world.cron(Faena("empty"), app_ref="other:app")()
    assert (await world.the()).next_at == world.clock.now
    await world.cron()()
    assert (await world.the()).runs == 1


async def test_arguments_that_fit_no_more_are_told_once_and_the_tick_is_skipped(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.put("broken", every=60)
    (schedule,) = await world.store.schedules()
    await world.store.put_schedules([msgspec.structs.replace(schedule, args=b'{"weeks":1}')])
    await world.put("fine", every=60)
    cron = world.cron()
    with caplog.at_level(logging.ERROR, "faena.loops"):
        for _ in range(3):
            world.clock.advance(60)
            await cron()
            await world.finish_all()
    assert [record.message for record in caplog.records if "broken" in record.message] == [
        caplog.records[0].message
    ]
    assert "its ticks are skipped" in caplog.records[0].message
    assert ((await world.the("broken")).runs, (await world.the("broken")).skipped) == (0, 3)
    assert (await world.the("fine")).runs == 3


async def test_the_schedules_of_the_code_are_put_and_old_ones_dropped(world: World) -> None:
    before, after = Faena("shop"), Faena("shop")
    for version in (before, after):
        version._tasks.update(app.tasks)
    before.schedule("nightly", clean, cron="0 3 * * *")
    before.schedule("hourly", clean, cron="@hourly")
    after.schedule("nightly", clean, cron="0 4 * * *", args={"days": 1})
    await world.put("by-hand", every=60)
    await world.cron(before)()
    assert [one.name for one in await world.store.schedules()] == ["by-hand", "hourly", "nightly"]
    assert (await world.the("nightly")).source == "code:shop:app"
    await world.cron(Faena("other"), app_ref="other:app")()
    await world.cron(after)()
    assert [one.name for one in await world.store.schedules()] == ["by-hand", "nightly"]
    assert (await world.the("nightly")).cron == "0 4 * * *"


async def test_a_restart_keeps_what_is_due(world: World) -> None:
    shop = Faena("shop")
    shop._tasks.update(app.tasks)
    shop.schedule("minutely", clean, every=60)
    await world.cron(shop)()
    world.clock.advance(60)
    await world.cron(shop)()
    assert len(world.delivered) == 1


def test_a_declared_schedule_whose_job_cannot_be_made_is_refused_at_once() -> None:
    shop = Faena("shop")
    shop.schedule("nightly", "sweep", cron="0 3 * * *")
    with pytest.raises(UnknownTask):
        World().cron(shop)
    shop = Faena("shop")
    shop._tasks.update(app.tasks)
    shop.schedule("nightly", clean, cron="0 3 * * *", args={"weeks": 1})
    with pytest.raises(InvalidArguments):
        World().cron(shop)


async def test_a_scheduled_job_is_like_any_other(world: World) -> None:
    await world.put(every=60, queue="low", priority=7)
    world.clock.advance(60)
    await world.cron()()
    (job,) = await world.jobs()
    assert (job.queue, job.priority, job.key) == ("low", 7, "schedule:s")
    assert (await world.client.enqueue(JobRequest(task="clean"))).duplicate is False
