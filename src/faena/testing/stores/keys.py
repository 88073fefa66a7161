"""Keys: how long they are held, what a conflict does, and requests that are sent again (rules 6, 9)."""

from __future__ import annotations

import asyncio
import math

import pytest

from faena.events import EventType
from faena.job import Idempotency, OnConflict, Status, Step
from faena.testing.clock import FakeClock
from faena.testing.desk import BOOM, Desk
from faena.testing.factories import at_once
from faena.testing.stores.base import OpenDesk, StoreSuite

ONE, TWO = b'{"a":1}', b'{"a":2}'
USER_A, USER_B = at_once(1, "user=a"), at_once(1, "user=b")
REQUEST = Idempotency(key="request", digest="d", kept=100)


class Keys(StoreSuite):
    # How long a key is held

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    async def test_a_key_may_be_held_longer_than_its_job_lives(
        self, desk: Desk, clock: FakeClock, status: Status
    ) -> None:
        job = await desk.in_status(status, key="k", key_kept=100)
        clock.advance(99)
        held = await desk.ask(key="k")
        assert (held.duplicate, held.job) == (True, job)
        clock.advance(1)
        assert not (await desk.ask(key="k")).duplicate

    async def test_a_key_that_is_kept_is_held_as_long_as_its_job_lives(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        job = await desk.running(key="k", key_kept=10)
        clock.advance(1000)
        assert (await desk.ask(key="k")).job.id == job.id
        await desk.finish(job)
        assert (await desk.ask(key="k")).job.id != job.id

    async def test_a_job_is_not_pruned_while_its_key_is_kept(
        self, open_desk: OpenDesk, clock: FakeClock
    ) -> None:
        desk = await open_desk(result_ttl=10)
        job = await desk.in_status(Status.COMPLETED, key="k", key_kept=100)
        short = await desk.running(key="other", key_kept=100)
        await desk.finish(short, ttl=0)
        clock.advance(99)
        assert await desk.store.prune(limit=10) == 0
        assert (await desk.ask(key="k")).job == job
        clock.advance(1)
        assert await desk.store.prune(limit=10) == 2

    async def test_a_key_may_be_kept_for_ever(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.in_status(Status.COMPLETED, key="k", key_kept=math.inf)
        clock.advance(1_000_000_000)
        assert await desk.store.prune(limit=10) == 0
        held = await desk.ask(key="k")
        assert (held.duplicate, held.job) == (True, job)
        assert (await desk.ask(key="k", args=TWO)).conflict

    async def test_a_longer_ttl_than_the_key_is_kept_to(self, open_desk: OpenDesk, clock: FakeClock) -> None:
        desk = await open_desk(result_ttl=100)
        job = await desk.in_status(Status.COMPLETED, key="k", key_kept=10)
        clock.advance(50)
        assert await desk.store.prune(limit=10) == 0
        assert (await desk.ask(key="k")).job.id != job.id

    @pytest.mark.parametrize("status", [Status.SCHEDULED, Status.PENDING, Status.PROCESSING])
    async def test_a_bound_frees_the_key_of_a_living_job(
        self, desk: Desk, clock: FakeClock, status: Status
    ) -> None:
        job = await desk.in_status(status, key="k", key_bound=50)
        clock.advance(49)
        assert (await desk.ask(key="k")).job.id == job.id
        clock.advance(1)
        second = await desk.ask(key="k", args=TWO)
        assert (second.duplicate, second.conflict) == (False, False)
        assert (await desk.look(job)).status is status

    async def test_a_job_within_its_bound_frees_its_key_when_it_ends(self, desk: Desk) -> None:
        job = await desk.running(key="k", key_bound=50)
        await desk.finish(job)
        assert (await desk.ask(key="k")).job.id != job.id

    async def test_whoever_lost_the_key_does_not_free_it_for_the_one_that_has_it(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        old = await desk.running(key="k", key_bound=50)
        clock.advance(60)
        new = await desk.enqueue(key="k")
        await desk.finish(old, ttl=0)
        clock.advance(1)
        assert await desk.store.prune(limit=10) == 1
        held = await desk.ask(key="k")
        assert (held.duplicate, held.job.id) == (True, new.id)

    async def test_a_key_goes_to_the_newest_and_not_back(self, desk: Desk, clock: FakeClock) -> None:
        await desk.enqueue(key="k", key_bound=50)
        clock.advance(60)
        second = await desk.running(key="k")
        await desk.finish(second)
        assert not (await desk.ask(key="k")).duplicate

    # What a conflict does

    async def test_refuse_is_a_conflict_whatever_the_arguments(self, desk: Desk) -> None:
        job = await desk.enqueue(key="k", args=ONE)
        for args in (ONE, TWO):
            refused = await desk.ask(key="k", args=args, on_conflict=OnConflict.REFUSE)
            assert (refused.conflict, refused.duplicate, refused.job) == (True, False, job)

    @pytest.mark.parametrize("status", [Status.SCHEDULED, Status.PENDING])
    @pytest.mark.parametrize("args", [ONE, TWO])
    async def test_replace_cancels_a_waiting_holder(self, desk: Desk, status: Status, args: bytes) -> None:
        old = await desk.in_status(status, key="k", args=ONE)
        new = await desk.ask(key="k", args=args, on_conflict=OnConflict.REPLACE)
        assert (new.duplicate, new.conflict, new.job.args) == (False, False, args)
        assert (await desk.look(old)).status is Status.CANCELLED
        event = await desk.last_event(old)
        assert (event.status, event.message) == (Status.CANCELLED, f"replaced by {new.job.id}")
        assert (await desk.ask(key="k", args=args)).job == new.job
        await desk.check_counts()

    async def test_a_replaced_holder_is_not_kept_for_its_key(self, desk: Desk, clock: FakeClock) -> None:
        await desk.enqueue(key="k", key_kept=math.inf)
        await desk.ask(key="k", on_conflict=OnConflict.REPLACE)
        clock.advance(100_000)
        assert await desk.store.prune(limit=10) == 1

    @pytest.mark.parametrize("how", [OnConflict.REPLACE, OnConflict.DEBOUNCE])
    async def test_a_running_holder_is_neither_replaced_nor_debounced(
        self, desk: Desk, how: OnConflict
    ) -> None:
        job = await desk.running(key="k", args=ONE)
        same, other = [await desk.ask(key="k", args=args, on_conflict=how) for args in (ONE, TWO)]
        assert (same.duplicate, same.conflict, same.job) == (True, False, job)
        assert (other.duplicate, other.conflict, other.job) == (False, True, job)
        assert await desk.look(job) == job

    @pytest.mark.parametrize("how", [OnConflict.REPLACE, OnConflict.DEBOUNCE])
    async def test_a_holder_that_ended_is_neither_replaced_nor_debounced(
        self, desk: Desk, how: OnConflict
    ) -> None:
        job = await desk.in_status(Status.COMPLETED, key="k", key_kept=100, args=ONE)
        assert (await desk.ask(key="k", args=ONE, on_conflict=how)).duplicate
        assert (await desk.ask(key="k", args=TWO, on_conflict=how)).conflict
        assert await desk.look(job) == job

    async def test_a_holder_that_waits_for_its_retry_may_be_replaced(self, desk: Desk) -> None:
        job = await desk.running(key="k", max_attempts=2)
        await desk.finish(job, Step.RETRY, error=BOOM, delay=60)
        assert not (await desk.ask(key="k", on_conflict=OnConflict.REPLACE)).duplicate
        assert (await desk.look(job)).status is Status.CANCELLED

    async def test_how_a_conflict_ends_is_the_newcomers_business(self, desk: Desk) -> None:
        job = await desk.enqueue(key="k", on_conflict=OnConflict.REPLACE)
        assert (await desk.ask(key="k")).job == job

    async def test_a_debounced_holder_takes_the_new_arguments_and_time(
        self, desk: Desk, clock: FakeClock
    ) -> None:
        job = await desk.enqueue(key="k", args=ONE, delay=10)
        clock.advance(7)
        answer = await desk.ask(
            key="k", args=TWO, delay=10, priority=5, user="other", on_conflict=OnConflict.DEBOUNCE
        )
        assert (answer.duplicate, answer.conflict, answer.job.id) == (True, False, job.id)
        now = await desk.look(job)
        assert now == answer.job
        assert (now.args, now.priority, now.due_at) == (TWO, 5, clock.now + 10)
        assert (now.status, now.user, now.created_at) == (Status.SCHEDULED, job.user, job.created_at)
        clock.advance(4)
        assert (await desk.store.promote(limit=10)).deliveries == ()
        clock.advance(7)
        assert [one.job_id for one in (await desk.store.promote(limit=10)).deliveries] == [job.id]

    async def test_debouncing_is_told_by_one_event(self, desk: Desk) -> None:
        job = await desk.enqueue(key="k", delay=10)
        await desk.ask(key="k", delay=10, on_conflict=OnConflict.DEBOUNCE)
        event = await desk.last_event(job)
        assert (event.seq, event.type, event.status) == (2, EventType.STATUS, Status.SCHEDULED)
        assert event.message == "debounced"

    async def test_a_pending_holder_may_be_put_off(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.enqueue(key="k")
        await desk.ask(key="k", delay=30, on_conflict=OnConflict.DEBOUNCE)
        assert await desk.statuses(job) == [Status.PENDING, Status.SCHEDULED]
        assert await desk.next_ids() == []
        clock.advance(31)
        await desk.store.promote(limit=10)
        assert await desk.next_ids() == [job.id]
        await desk.check_counts()

    async def test_a_scheduled_holder_may_be_called_up(self, desk: Desk) -> None:
        job = await desk.enqueue(key="k", delay=30)
        answer = await desk.ask(key="k", on_conflict=OnConflict.DEBOUNCE)
        assert (answer.job.id, answer.job.status) == (job.id, Status.PENDING)
        assert await desk.statuses(job) == [Status.SCHEDULED, Status.PENDING]
        assert await desk.next_ids() == [job.id]
        await desk.check_counts()

    async def test_a_debounced_holder_stays_behind_its_gate(self, desk: Desk) -> None:
        await desk.running(gates=(at_once(1),))
        job = await desk.enqueue(key="k", gates=(at_once(1),), delay=30)
        answer = await desk.ask(key="k", priority=9, gates=(at_once(1),), on_conflict=OnConflict.DEBOUNCE)
        assert (answer.job.id, answer.held_back) == (job.id, True)
        assert await desk.next_ids() == []

    @pytest.mark.parametrize("delay", [0, 30])
    async def test_a_debounced_holder_passes_the_gates_of_its_new_arguments(
        self, desk: Desk, clock: FakeClock, delay: float
    ) -> None:
        job = await desk.enqueue(key="k", gates=(USER_A,), delay=delay)
        answer = await desk.ask(key="k", gates=(USER_B,), on_conflict=OnConflict.DEBOUNCE, delay=delay)
        assert (answer.job.id, answer.held_back) == (job.id, not delay)
        clock.advance(delay)
        await desk.store.promote(limit=10)
        assert await desk.next_ids() == [job.id]
        of_a, of_b = await desk.enqueue(gates=(USER_A,)), await desk.enqueue(gates=(USER_B,))
        assert await desk.next_ids() == [of_a.id]
        await desk.finish(await desk.look(job))
        assert await desk.next_ids() == [of_b.id]

    @pytest.mark.parametrize("delay", [0, 30])
    async def test_a_holder_that_was_given_out_makes_room_at_its_old_gates_when_it_is_debounced(
        self, desk: Desk, clock: FakeClock, delay: float
    ) -> None:
        job = await desk.enqueue(key="k", gates=(USER_A,))
        assert await desk.admitted() == [job.id]
        await desk.ask(key="k", gates=(USER_B,), priority=3, delay=delay, on_conflict=OnConflict.DEBOUNCE)
        of_a = await desk.enqueue(gates=(USER_A,))
        clock.advance(delay)
        await desk.store.promote(limit=10)
        assert await desk.admitted() == [job.id, of_a.id]
        of_b = await desk.enqueue(gates=(USER_B,))
        assert await desk.admitted() == []
        await desk.finish(await desk.take(job))
        assert await desk.admitted() == [of_b.id]

    async def test_debouncing_takes_gates_off_and_puts_them_on(self, desk: Desk) -> None:
        await desk.running(gates=(USER_A,))
        job = await desk.enqueue(key="k", gates=(USER_A,))
        assert await desk.next_ids() == []
        assert not (await desk.ask(key="k", on_conflict=OnConflict.DEBOUNCE)).held_back
        assert (await desk.ask(key="k", gates=(USER_A,), on_conflict=OnConflict.DEBOUNCE)).held_back
        assert await desk.next_ids() == []
        assert not (await desk.ask(key="k", on_conflict=OnConflict.DEBOUNCE)).held_back
        assert await desk.next_ids() == [job.id]
        await desk.check_counts()

    async def test_jobs_of_one_call_may_conflict_with_each_other(self, desk: Desk) -> None:
        running = await desk.running(key="run", args=ONE)
        new = [
            desk.jobs.new(key="k", args=ONE),
            desk.jobs.new(key="k", args=ONE),
            desk.jobs.new(key="k", args=TWO),
            desk.jobs.new(key="k", args=TWO, on_conflict=OnConflict.REPLACE),
            desk.jobs.new(key="k", args=ONE, on_conflict=OnConflict.DEBOUNCE),
            desk.jobs.new(key="run", args=TWO, on_conflict=OnConflict.REPLACE),
            desk.jobs.new(key="k", args=ONE, on_conflict=OnConflict.REFUSE),
        ]
        inserted = await desk.store.insert(new)
        answers = [(one.job.id, one.duplicate, one.conflict) for one in inserted]
        assert answers == [
            (new[0].id, False, False),
            (new[0].id, True, False),
            (new[0].id, False, True),
            (new[3].id, False, False),
            (new[3].id, True, False),
            (running.id, False, True),
            (new[3].id, False, True),
        ]
        first, last = await desk.store.get([new[0].id, new[3].id])
        assert first is not None
        assert last is not None
        assert (first.status, last.status, last.args) == (Status.CANCELLED, Status.PENDING, ONE)
        await desk.check_counts()

    async def test_fifty_replacements_at_once_leave_one_job_waiting(self, desk: Desk) -> None:
        new = desk.jobs.several(50, key="k", on_conflict=OnConflict.REPLACE)
        await asyncio.gather(*(desk.store.insert([one]) for one in new))
        statuses = [job.status for job in await desk.everything()]
        assert statuses.count(Status.PENDING) == 1
        assert statuses.count(Status.CANCELLED) == 49

    # Requests that are sent again

    async def test_the_same_request_is_answered_with_its_job(self, desk: Desk) -> None:
        first = await desk.ask(idempotency=REQUEST)
        again = await desk.ask(idempotency=REQUEST)
        assert (first.replayed, again.replayed, again.conflict) == (False, True, False)
        assert again.job == first.job
        assert len(await desk.everything()) == 1

    async def test_a_request_is_recognised_when_its_job_has_ended(self, desk: Desk, clock: FakeClock) -> None:
        job = await desk.running(idempotency=REQUEST)
        await desk.finish(job, result=b"1")
        clock.advance(99)
        again = await desk.ask(idempotency=REQUEST)
        assert (again.replayed, again.job) == (True, await desk.look(job))

    async def test_the_same_key_for_another_request_is_a_conflict(self, desk: Desk) -> None:
        first = await desk.ask(idempotency=REQUEST)
        other = Idempotency(key=REQUEST.key, digest="other", kept=100)
        answer = await desk.ask(task="resize", idempotency=other)
        assert (answer.conflict, answer.replayed, answer.job) == (True, False, first.job)
        assert (await desk.ask(idempotency=REQUEST)).replayed

    async def test_a_request_is_forgotten_after_its_time(self, desk: Desk, clock: FakeClock) -> None:
        first = await desk.ask(idempotency=REQUEST)
        clock.advance(100)
        other = Idempotency(key=REQUEST.key, digest="other", kept=100)
        second = await desk.ask(idempotency=other)
        assert (second.conflict, second.replayed) == (False, False)
        assert second.job.id != first.job.id
        assert (await desk.ask(idempotency=other)).job == second.job

    async def test_a_job_is_not_pruned_while_its_request_is_recognised(
        self, open_desk: OpenDesk, clock: FakeClock
    ) -> None:
        desk = await open_desk(result_ttl=10)
        first = await desk.in_status(Status.COMPLETED, idempotency=REQUEST)
        clock.advance(99)
        assert await desk.store.prune(limit=10) == 0
        assert (await desk.ask(idempotency=REQUEST)).job == first
        clock.advance(1)
        assert await desk.store.prune(limit=10) == 1
        assert not (await desk.ask(idempotency=REQUEST)).replayed

    async def test_a_request_that_a_duplicate_answered_is_recognised(
        self, open_desk: OpenDesk, clock: FakeClock
    ) -> None:
        desk = await open_desk(result_ttl=10)
        holder = await desk.running(key="k")
        assert (await desk.ask(key="k", idempotency=REQUEST)).duplicate
        await desk.finish(holder)
        clock.advance(50)
        assert await desk.store.prune(limit=10) == 0
        again = await desk.ask(key="k", idempotency=REQUEST)
        assert (again.replayed, again.duplicate, again.job.id) == (True, True, holder.id)

    async def test_the_answer_to_a_request_that_made_its_job_is_no_duplicate_when_it_is_told_again(
        self, desk: Desk
    ) -> None:
        first = await desk.ask(key="k", idempotency=REQUEST)
        assert (await desk.ask(key="k")).duplicate
        again = await desk.ask(key="k", idempotency=REQUEST)
        assert (again.replayed, again.duplicate, again.job) == (True, False, first.job)

    async def test_a_request_that_debounced_a_job_was_answered_by_a_duplicate(self, desk: Desk) -> None:
        first = await desk.ask(key="k", args=ONE)
        asked = {"key": "k", "args": TWO, "on_conflict": OnConflict.DEBOUNCE, "idempotency": REQUEST}
        assert (await desk.ask(**asked)).duplicate
        again = await desk.ask(**asked)
        assert (again.replayed, again.duplicate, again.job.id) == (True, True, first.job.id)

    async def test_a_job_that_had_ended_is_kept_for_the_request_that_it_answered(
        self, open_desk: OpenDesk, clock: FakeClock
    ) -> None:
        desk = await open_desk(result_ttl=10)
        ended = await desk.in_status(Status.COMPLETED, key="k", key_kept=50)
        clock.advance(40)
        assert (await desk.ask(key="k", idempotency=REQUEST)).duplicate
        clock.advance(99)
        assert await desk.store.prune(limit=10) == 0
        assert (await desk.ask(idempotency=REQUEST)).job.id == ended.id
        clock.advance(1)
        assert await desk.store.prune(limit=10) == 1

    @pytest.mark.parametrize(
        ("args", "other"),
        [(ONE, TWO), (b'{"a":[]}', b'{"a":{}}'), (b'{"a":9007199254740992}', b'{"a":9007199254740993}')],
    )
    async def test_a_request_that_ended_in_a_conflict_is_not_remembered(
        self, desk: Desk, args: bytes, other: bytes
    ) -> None:
        holder = await desk.running(key="k", args=args)
        assert (await desk.ask(key="k", args=other, idempotency=REQUEST)).conflict
        await desk.finish(holder)
        second = await desk.ask(key="k", args=other, idempotency=REQUEST)
        assert (second.replayed, second.conflict, second.job.args) == (False, False, other)

    async def test_a_request_is_looked_at_before_its_key(self, desk: Desk) -> None:
        first = await desk.ask(key="k", on_conflict=OnConflict.REPLACE, idempotency=REQUEST)
        again = await desk.ask(key="k", on_conflict=OnConflict.REPLACE, idempotency=REQUEST)
        assert (again.replayed, again.job) == (True, first.job)
        assert (await desk.look(first.job)).status is Status.PENDING

    async def test_fifty_of_a_request_at_once_make_one_job(self, desk: Desk) -> None:
        new = desk.jobs.several(50, idempotency=REQUEST)
        answers = await asyncio.gather(*(desk.store.insert([one]) for one in new[:40]))
        together = [*(answer[0] for answer in answers), *await desk.store.insert(new[40:])]
        assert sum(not one.replayed for one in together) == 1
        assert len(await desk.everything()) == 1
