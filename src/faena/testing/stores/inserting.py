"""Enqueueing: `insert`, ids and idempotency keys (rules 1, 6, 9, 10)."""

from __future__ import annotations

import asyncio

import pytest

from faena.errors import StoreFull
from faena.events import EventType
from faena.job import Status, Step
from faena.testing.clock import FakeClock
from faena.testing.desk import Desk
from faena.testing.stores.base import StoreSuite


class Inserting(StoreSuite):
    async def test_a_new_job_is_pending_and_due_now(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue()
        assert (job.status, job.due_at, job.created_at) == (Status.PENDING, clock.now, clock.now)
        assert (job.attempt, job.token, job.crashes, job.seq) == (0, 0, 0, 1)
        assert (job.progress, job.result, job.error, job.finished_at) == (0.0, None, None, None)

    async def test_a_job_keeps_everything_that_it_was_enqueued_with(self, desk: Desk) -> None:
        new = desk.jobs.new(
            task="resize",
            args=b'{"path":"a.jpg"}',
            queue="media",
            priority=-3,
            max_attempts=4,
            timeout=2.5,
            key="k",
            user="u",
            topic="t",
            origin=desk.jobs.id(),
        )
        await desk.store.insert([new])
        (job,) = await desk.store.get([new.id])
        assert job is not None
        kept = set(new.__struct_fields__) & set(job.__struct_fields__) - {"due_at"}
        assert {field: getattr(job, field) for field in kept} == {
            field: getattr(new, field) for field in kept
        }

    async def test_the_answer_is_the_stored_job_itself(self, desk: Desk) -> None:
        job = await desk.enqueue(key="k", delay=3)
        assert job == await desk.look(job)

    async def test_a_delayed_job_is_scheduled(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(delay=30)
        assert (job.status, job.due_at) == (Status.SCHEDULED, clock.now + 30)

    async def test_a_due_time_wins_over_a_delay(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(delay=30, due_at=clock.now + 90)
        assert (job.status, job.due_at) == (Status.SCHEDULED, clock.now + 90)

    async def test_a_due_time_that_has_passed_makes_a_pending_job(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(due_at=clock.now - 90)
        assert job.status is Status.PENDING

    @pytest.mark.parametrize("delay", [0, 60])
    async def test_the_first_event_tells_the_enqueueing(
        self, desk: Desk, clock: FakeClock, delay: int
    ) -> None:
        job = await desk.enqueue(delay=delay)
        (event,) = await desk.events(job)
        assert (event.seq, event.type, event.status) == (1, EventType.STATUS, job.status)
        assert (event.attempt, event.progress, event.at) == (0, 0.0, clock.now)

    async def test_many_jobs_are_answered_in_the_order_given(self, desk: Desk) -> None:
        new = desk.jobs.several(500)
        new = new[::2] + new[1::2]
        inserted = await desk.store.insert(new)
        assert [one.job.id for one in inserted] == [one.id for one in new]

    async def test_nothing_to_insert_is_nothing(self, desk: Desk) -> None:
        assert await desk.store.insert([]) == []
        assert await desk.store.counts() == []

    # Ids: a repeated call makes no second job (rule 9)

    async def test_a_repeated_insert_changes_nothing(self, desk: Desk) -> None:
        new = desk.jobs.several(3, key=None)
        first = await desk.store.insert(new)
        position = await desk.position()
        assert await desk.store.insert(new) == first
        assert await desk.told_since(position) == []
        await desk.check_counts()

    async def test_a_repeated_insert_answers_with_the_job_as_it_stands(self, desk: Desk) -> None:
        new = desk.jobs.new()
        (job,) = await desk.insert(new)
        await desk.finish(await desk.take(job), result=b"7")
        (again,) = await desk.store.insert([new])
        assert (again.job.status, again.job.result, again.conflict) == (Status.COMPLETED, b"7", False)

    async def test_a_repeated_insert_with_a_key_finds_its_own_job(self, desk: Desk) -> None:
        new = desk.jobs.new(key="k")
        (first,) = await desk.store.insert([new])
        (again,) = await desk.store.insert([new])
        assert (again.job, again.conflict) == (first.job, False)

    async def test_an_id_twice_in_one_insert_makes_one_job(self, desk: Desk) -> None:
        new = desk.jobs.new()
        first, second = await desk.store.insert([new, new])
        assert first.job == second.job
        assert len(await desk.everything()) == 1
        assert (await desk.look(first.job)).seq == 1

    async def test_a_known_id_among_new_ones_does_not_hinder_them(self, desk: Desk) -> None:
        known = desk.jobs.new()
        await desk.insert(known)
        fresh = desk.jobs.several(2)
        inserted = await desk.store.insert([fresh[0], known, fresh[1]])
        assert [one.job.id for one in inserted] == [fresh[0].id, known.id, fresh[1].id]
        assert len(await desk.everything()) == 3

    # Keys (rule 6)

    async def test_the_same_key_and_arguments_are_a_duplicate(self, desk: Desk) -> None:
        job = await desk.enqueue(key="k")
        (second,) = await desk.store.insert([desk.jobs.new(key="k")])
        assert (second.duplicate, second.conflict, second.job) == (True, False, job)
        assert len(await desk.everything()) == 1

    async def test_the_same_key_with_other_arguments_is_a_conflict(self, desk: Desk) -> None:
        job = await desk.enqueue(key="k", args=b'{"a":1}')
        (second,) = await desk.store.insert([desk.jobs.new(key="k", args=b'{"a":2}')])
        assert (second.duplicate, second.conflict, second.job) == (False, True, job)
        assert len(await desk.everything()) == 1

    async def test_the_same_arguments_in_another_order_are_a_duplicate(self, desk: Desk) -> None:
        await desk.enqueue(key="k", args=b'{"a":1,"b":2}')
        (second,) = await desk.store.insert([desk.jobs.new(key="k", args=b'{"b":2,"a":1}')])
        assert (second.duplicate, second.conflict) == (True, False)

    async def test_a_job_that_was_not_stored_leaves_no_trace(self, desk: Desk) -> None:
        await desk.enqueue(key="k")
        position = await desk.position()
        refused = desk.jobs.new(key="k", args=b"{}")
        await desk.store.insert([refused])
        assert await desk.store.get([refused.id]) == [None]
        assert await desk.store.story(refused.id) is None
        assert await desk.told_since(position) == []
        await desk.check_counts()

    async def test_a_key_belongs_to_its_task(self, desk: Desk) -> None:
        first, second = await desk.store.insert(
            [desk.jobs.new(task=task, key="k") for task in ("one", "two")]
        )
        assert not first.duplicate
        assert not second.duplicate
        assert first.job.id != second.job.id

    async def test_a_key_holds_across_queues(self, desk: Desk) -> None:
        job = await desk.enqueue(key="k", queue="one")
        (second,) = await desk.store.insert([desk.jobs.new(key="k", queue="two")])
        assert (second.duplicate, second.job.id) == (True, job.id)

    async def test_keys_are_told_apart_by_every_letter(self, desk: Desk) -> None:
        keys = ["k", "K", " k", "k ", "", "k\x00", "k\x00x", "ké", "ke\u0301"]
        inserted = await desk.store.insert([desk.jobs.new(key=key) for key in keys])
        assert [one.duplicate for one in inserted] == [False] * len(keys)

    async def test_jobs_without_a_key_never_collide(self, desk: Desk) -> None:
        inserted = await desk.store.insert(desk.jobs.several(3, key=None))
        assert not any(one.duplicate or one.conflict for one in inserted)

    @pytest.mark.parametrize("status", [Status.SCHEDULED, Status.PENDING, Status.PROCESSING])
    async def test_a_live_job_holds_its_key(self, desk: Desk, status: Status) -> None:
        job = await desk.in_status(status, key="k")
        (second,) = await desk.store.insert([desk.jobs.new(key="k")])
        assert (second.duplicate, second.job) == (True, job)

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    async def test_a_final_job_sets_its_key_free(self, desk: Desk, status: Status) -> None:
        await desk.in_status(status, key="k")
        second, third = await desk.store.insert([desk.jobs.new(key="k"), desk.jobs.new(key="k")])
        assert (second.duplicate, third.duplicate) == (False, True)
        assert third.job == second.job

    async def test_a_job_that_waits_for_its_retry_holds_its_key(self, desk: Desk) -> None:
        job = await desk.running(key="k", max_attempts=2)
        await desk.finish(job, Step.RETRY, delay=60)
        (second,) = await desk.store.insert([desk.jobs.new(key="k")])
        assert (second.duplicate, second.job.id) == (True, job.id)

    async def test_a_purged_and_a_crashed_job_set_their_keys_free(self, desk: Desk) -> None:
        await desk.enqueue(key="purged")
        await desk.store.purge("default", limit=10)
        crashing = await desk.enqueue(key="crashed")
        while not (await desk.look(crashing)).status.final:
            await desk.crash(await desk.take(crashing))
        inserted = await desk.store.insert([desk.jobs.new(key=key) for key in ("purged", "crashed")])
        assert [one.duplicate for one in inserted] == [False, False]

    async def test_an_ended_job_does_not_free_the_key_of_its_successor(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        await desk.in_status(Status.COMPLETED, key="k")
        second = await desk.enqueue(key="k")
        clock.advance(10_000_000)
        assert await desk.store.prune(limit=10) == 1
        (third,) = await desk.store.insert([desk.jobs.new(key="k")])
        assert (third.duplicate, third.job.id) == (True, second.id)

    async def test_one_insert_with_a_key_many_times_makes_one_job(self, desk: Desk) -> None:
        inserted = await desk.store.insert(desk.jobs.several(5, key="k"))
        assert [one.duplicate for one in inserted] == [False, True, True, True, True]
        assert {one.job.id for one in inserted} == {inserted[0].job.id}

    async def test_fifty_inserts_of_a_key_at_once_make_one_job(self, desk: Desk) -> None:
        new = desk.jobs.several(50, key="k")
        answers = await asyncio.gather(*(desk.store.insert([one]) for one in new))
        inserted = [answer[0] for answer in answers]
        assert sum(not one.duplicate for one in inserted) == 1
        assert len({one.job.id for one in inserted}) == 1
        assert len(await desk.everything()) == 1

    # Room (rule 10)

    async def test_a_full_store_refuses_and_keeps_what_it_acknowledged(self, desk: Desk) -> None:
        if not self.fills:
            pytest.skip("this store can't be filled in a test")
        await self.fill(desk.store)
        acknowledged: list[str] = []
        with pytest.raises(StoreFull):
            for _ in range(1000):
                batch = desk.jobs.several(10, args=b"x" * 2000)
                await desk.store.insert(batch)
                acknowledged += [new.id for new in batch]
        assert await desk.store.get([new.id for new in batch]) == [None] * 10
        assert None not in await desk.store.get(acknowledged)
        await desk.check_counts()
