"""Schedules and their ticks: `put_schedules`, `schedules`, `tick`, `steer_schedule`, `drop_schedules` (rule 11)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from faena.errors import StoreFull
from faena.job import NewJob, OnConflict, Status
from faena.ports.records import Inserted
from faena.schedule import CatchUp, Overlap, Schedule
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.factories import a_schedule
from faena.testing.stores.base import OpenDesk, StoreSuite

TICK = 1_800_000_060.0


async def put(desk: Desk, **fields: Any) -> Schedule:
    schedule = a_schedule(**fields)
    await desk.store.put_schedules([schedule])
    return await stored(desk, schedule.name)


async def stored(desk: Desk, name: str = "nightly") -> Schedule:
    return {schedule.name: schedule for schedule in await desk.store.schedules()}[name]


async def tick(desk: Desk, *jobs: NewJob, at: float = TICK, missed: int = 0) -> list[Inserted] | None:
    return await desk.store.tick("nightly", at=at, next_at=at + 60, jobs=jobs, missed=missed)


class Scheduling(StoreSuite):
    async def test_a_schedule_is_kept_as_it_was_put(self, desk: Desk, clock: FakeClock) -> None:
        schedule = a_schedule(
            args=b'{"a":1}',
            cron="0 3 * * *",
            every=None,
            start=17.25,
            timezone="Europe/Madrid",
            catch_up=CatchUp.ALL,
            overlap=Overlap.ALLOW,
            queue="media",
            priority=-2,
            source="code:app:app",
            paused=True,
        )
        await desk.store.put_schedules([schedule])
        kept = await desk.store.schedules()
        assert kept == [msgspec.structs.replace(schedule, created_at=clock.now)]

    async def test_schedules_are_listed_by_name(self, desk: Desk) -> None:
        assert await desk.store.schedules() == []
        await desk.store.put_schedules([a_schedule(name=name) for name in ("c", "a", "é", "b")])
        assert [schedule.name for schedule in await desk.store.schedules()] == ["a", "b", "c", "é"]

    async def test_a_schedule_put_again_stays_as_it_is(self, desk: Desk, clock: FakeClock) -> None:
        await put(desk)
        await tick(desk, desk.jobs.new())
        await desk.store.steer_schedule("nightly", paused=True)
        before = await stored(desk)
        clock.advance(5)
        assert await put(desk, next_at=TICK + 1000, paused=False) == before

    async def test_another_definition_replaces_it_and_keeps_what_was_counted(self, desk: Desk) -> None:
        await put(desk)
        await tick(desk, desk.jobs.new(), missed=2)
        await desk.store.steer_schedule("nightly", paused=True)
        before = await stored(desk)
        after = await put(desk, every=30.0, args=b'{"a":2}', next_at=TICK + 7, paused=False)
        assert (after.every, after.args, after.next_at) == (30.0, b'{"a":2}', TICK + 7)
        counted = ("paused", "runs", "skipped", "last_at", "last_job")
        assert [getattr(after, name) for name in counted] == [getattr(before, name) for name in counted]
        assert (after.paused, after.runs, after.skipped) == (True, 1, 2)

    # Ticks

    async def test_a_tick_makes_its_job_and_moves_on(self, desk: Desk) -> None:
        await put(desk)
        new = desk.jobs.new(task="resize", queue="media")
        inserted = await tick(desk, new)
        assert inserted is not None
        assert inserted[0].job == (await desk.store.get([new.id]))[0]
        after = await stored(desk)
        assert (after.next_at, after.last_at, after.last_job) == (TICK + 60, TICK, new.id)
        assert (after.runs, after.skipped) == (1, 0)
        assert await desk.next_ids("media") == [new.id]

    async def test_a_tick_is_taken_once(self, desk: Desk) -> None:
        await put(desk)
        assert await tick(desk, desk.jobs.new()) is not None
        before = await stored(desk)
        assert await tick(desk, desk.jobs.new()) is None
        assert await stored(desk) == before
        assert len(await desk.everything()) == 1

    async def test_twenty_schedulers_take_a_tick_once(self, desk: Desk) -> None:
        await put(desk)
        answers = await asyncio.gather(*(tick(desk, desk.jobs.new()) for _ in range(20)))
        assert sum(answer is not None for answer in answers) == 1
        assert len(await desk.everything()) == 1

    async def test_schedulers_of_two_instances_take_each_tick_once(self, desk: Desk, other: Desk) -> None:
        await put(desk)
        for number in range(5):
            at = TICK + 60 * number
            answers = await asyncio.gather(
                *(tick(one, one.jobs.new(), at=at) for one in (desk, other) for _ in range(3))
            )
            assert sum(answer is not None for answer in answers) == 1
        assert (await stored(other)).runs == len(await desk.everything()) == 5

    @pytest.mark.parametrize("at", [TICK - 60, TICK + 60, TICK + 0.001])
    async def test_only_the_next_tick_can_be_taken(self, desk: Desk, at: float) -> None:
        before = await put(desk)
        assert await tick(desk, desk.jobs.new(), at=at) is None
        assert await stored(desk) == before
        assert await desk.everything() == []

    async def test_ticks_fall_on_any_fraction_of_a_second(self, desk: Desk) -> None:
        at = 1_800_000_000.1 + 0.2
        await put(desk, next_at=at)
        assert (await stored(desk)).next_at == at
        assert await tick(desk, desk.jobs.new(), at=at) is not None

    async def test_a_paused_schedule_does_not_tick(self, desk: Desk) -> None:
        await put(desk)
        await desk.store.steer_schedule("nightly", paused=True)
        assert await tick(desk, desk.jobs.new()) is None
        await desk.store.steer_schedule("nightly", paused=False)
        assert await tick(desk, desk.jobs.new()) is not None

    async def test_a_schedule_that_is_gone_does_not_tick(self, desk: Desk) -> None:
        assert await tick(desk, desk.jobs.new()) is None
        await put(desk)
        await desk.store.drop_schedules(["nightly"])
        assert await tick(desk, desk.jobs.new()) is None
        assert await desk.everything() == []

    async def test_the_last_tick_leaves_no_next_one(self, desk: Desk) -> None:
        await put(desk)
        new = desk.jobs.new()
        assert await desk.store.tick("nightly", at=TICK, next_at=None, jobs=[new]) is not None
        assert (await stored(desk)).next_at is None
        assert await tick(desk, desk.jobs.new()) is None

    async def test_a_tick_may_make_several_jobs(self, desk: Desk) -> None:
        await put(desk)
        new = desk.jobs.several(3)
        inserted = await tick(desk, *new)
        assert inserted is not None
        assert [one.job.id for one in inserted] == [one.id for one in new]
        after = await stored(desk)
        assert (after.runs, after.last_job) == (3, new[-1].id)

    async def test_missed_ticks_are_counted(self, desk: Desk) -> None:
        await put(desk)
        assert await tick(desk, missed=4) == []
        after = await stored(desk)
        assert (after.runs, after.skipped, after.last_at, after.last_job) == (0, 4, TICK, None)
        assert after.next_at == TICK + 60

    async def test_a_tick_that_overlaps_makes_no_job_and_is_counted(self, desk: Desk) -> None:
        await put(desk)
        overlap = {"key": "schedule:nightly", "on_conflict": OnConflict.REFUSE}
        first = await tick(desk, desk.jobs.new(**overlap))
        assert first is not None
        second = await tick(desk, desk.jobs.new(**overlap), at=TICK + 60)
        assert second is not None
        assert (second[0].conflict, second[0].job.id) == (True, first[0].job.id)
        after = await stored(desk)
        assert (after.runs, after.skipped, after.last_job) == (1, 1, first[0].job.id)
        assert (after.last_at, after.next_at) == (TICK + 60, TICK + 120)
        await desk.finish(await desk.take(first[0].job))
        assert await tick(desk, desk.jobs.new(**overlap), at=TICK + 120) is not None
        assert (await stored(desk)).runs == 2

    async def test_a_duplicate_makes_no_run(self, desk: Desk) -> None:
        await put(desk)
        await desk.enqueue(key="k")
        assert await tick(desk, desk.jobs.new(key="k"), desk.jobs.new(key="other")) is not None
        after = await stored(desk)
        assert (after.runs, after.skipped) == (1, 1)

    async def test_a_ticks_job_is_held_back_like_any_other(self, desk: Desk) -> None:
        await put(desk)
        await desk.store.pause(queue="default")
        inserted = await tick(desk, desk.jobs.new())
        assert inserted is not None
        assert inserted[0].held_back
        assert inserted[0].job.status is Status.PENDING

    async def test_a_tick_wakes_who_waits_for_work(self, desk: Desk) -> None:
        await put(desk)
        waiting = asyncio.create_task(desk.store.work(["default"], wait=600))
        await asyncio.sleep(0)
        await tick(desk, desk.jobs.new())
        await asyncio.wait_for(waiting, 10)

    async def test_a_tick_that_a_full_store_refuses_can_be_taken_later(self, desk: Desk) -> None:
        if not self.fills:
            pytest.skip("this store can't be filled in a test")
        await put(desk)
        await self.fill(desk.store)
        with pytest.raises(StoreFull):
            await tick(desk, *desk.jobs.several(500, args=b"x" * 2000))
        assert (await stored(desk)).next_at == TICK
        assert (await stored(desk)).runs == 0
        assert await desk.everything() == []

    # Steering them

    async def test_a_steered_schedule_is_answered_as_it_stands(self, desk: Desk) -> None:
        await put(desk)
        steered = await desk.store.steer_schedule("nightly", next_at=TICK + 5)
        assert steered == await stored(desk)
        assert (steered.next_at, steered.paused) == (TICK + 5, False)
        steered = await desk.store.steer_schedule("nightly", paused=True)
        assert steered is not None
        assert (steered.next_at, steered.paused) == (TICK + 5, True)
        assert await desk.store.steer_schedule("nightly") == steered

    async def test_an_unknown_schedule_is_not_steered(self, desk: Desk) -> None:
        assert await desk.store.steer_schedule("nightly", paused=True) is None
        assert await desk.store.schedules() == []

    async def test_dropped_schedules_are_forgotten(self, desk: Desk) -> None:
        await desk.store.put_schedules([a_schedule(name=name) for name in "abc"])
        assert await desk.store.drop_schedules(["a", "c", "no-such-schedule"]) == 2
        assert [schedule.name for schedule in await desk.store.schedules()] == ["b"]
        assert await desk.store.drop_schedules([]) == 0

    async def test_a_schedule_put_after_it_was_dropped_counts_anew(self, desk: Desk) -> None:
        await put(desk)
        await tick(desk, desk.jobs.new())
        await desk.store.drop_schedules(["nightly"])
        again = await put(desk)
        assert (again.runs, again.last_at, again.next_at) == (0, None, TICK)

    async def test_a_schedule_makes_no_job_by_itself(self, desk: Desk, clock: FakeClock) -> None:
        await put(desk)
        clock.advance(1_000_000)
        await desk.store.promote(limit=10)
        await desk.store.prune(limit=10)
        assert await desk.everything() == []
        assert (await stored(desk)).next_at == TICK

    async def test_schedules_survive_a_restart(self, open_desk: OpenDesk) -> None:
        if not self.durable:
            pytest.skip("this store keeps nothing when it is closed")
        desk = await open_desk()
        await put(desk)
        await tick(desk, desk.jobs.new())
        before = await stored(desk)
        await desk.store.close()
        assert await stored(await open_desk()) == before
