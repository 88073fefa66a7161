"""Events: `story` and `published` (rule 5)."""

from __future__ import annotations

import asyncio

import pytest

from faena.events import Event, EventType, NewEvent
from faena.job import Job, Status, Step
from faena.ports.records import Report
from faena.testing.clock import FakeClock
from faena.testing.desk import BOOM, Desk
from faena.testing.stores.base import OpenDesk, StoreSuite

SOON = 10.0
"""Seconds of real time after which a test gives a waiting call up."""

LOG = NewEvent(type=EventType.LOG, event="info", message="line")


async def _long_life(desk: Desk) -> Job:
    """Bring a job through everything that can happen to one, to its end."""
    job = await desk.enqueue(delay=5, max_attempts=3, topic="media", user="u1")
    desk.clock.advance(6)
    await desk.store.promote(limit=10)
    held = await desk.take(job)
    await desk.report(held, progress=10, message="one", events=(LOG, LOG))
    await desk.finish(held, Step.RETRY, error=BOOM)
    await desk.store.promote(limit=10)
    await desk.crash(await desk.take(job))
    for step in (Step.SNOOZE, Step.RELEASE):
        await desk.finish(await desk.take(job), step)
        await desk.store.promote(limit=10)
    held = await desk.take(job)
    await desk.store.cancel([job.id])
    await desk.report(held, progress=50)
    await desk.finish(held, result=b"1")
    return await desk.look(job)


async def _log_lines(desk: Desk, job: Job, count: int) -> None:
    for number in range(1, count // 50 + 1):
        await desk.store.report([Report(job_id=job.id, token=job.token, number=number, events=(LOG,) * 50)])


class Telling(StoreSuite):
    async def test_the_events_of_a_whole_life_have_no_gap(self, desk: Desk) -> None:
        job = await _long_life(desk)
        events = await desk.events(job)
        assert [event.seq for event in events] == list(range(1, job.seq + 1))

    async def test_a_whole_life_is_told_in_order(self, desk: Desk) -> None:
        job = await _long_life(desk)
        scheduled, pending, processing = Status.SCHEDULED, Status.PENDING, Status.PROCESSING
        assert await desk.statuses(job) == [
            *(scheduled, pending, processing),  # the first attempt, a retry
            *(scheduled, pending, processing),  # a crash
            *(pending, processing),  # a snooze
            *(scheduled, pending, processing),  # a release
            *(pending, processing),  # the second attempt
            *(processing, Status.COMPLETED),  # asked to stop, completed all the same
        ]

    async def test_every_event_bears_the_number_of_its_run(self, desk: Desk) -> None:
        job = await _long_life(desk)
        claims = [
            event.attempt
            for event in await desk.events(job)
            if event.type is EventType.STATUS and event.status is Status.PROCESSING
        ]
        assert claims == [1, 2, 2, 2, 2, 2]

    async def test_the_last_event_tells_what_the_job_shows(self, desk: Desk) -> None:
        job = await _long_life(desk)
        event = await desk.last_event(job)
        assert (event.seq, event.status, event.progress) == (job.seq, job.status, job.progress)

    # story

    async def test_a_story_joins_where_the_reader_stopped(self, desk: Desk) -> None:
        job = await _long_life(desk)
        whole = await desk.events(job)
        for after in (0, 1, 5, job.seq - 1, job.seq):
            story = await desk.store.story(job.id, after=after)
            assert story is not None
            assert (story.job, story.events, story.gap) == (job, whole[after:], False)

    async def test_a_story_beyond_the_last_event_is_empty(self, desk: Desk) -> None:
        job = await desk.enqueue()
        story = await desk.store.story(job.id, after=100)
        assert story is not None
        assert (story.job, story.events) == (job, ())

    async def test_an_unknown_job_has_no_story(self, desk: Desk) -> None:
        assert await desk.store.story("no-such-job") is None

    @pytest.mark.parametrize("most", [1, 20, 300])
    async def test_the_latest_events_are_kept_and_a_gap_is_told(self, open_desk: OpenDesk, most: int) -> None:
        desk = await open_desk(max_events=most)
        job = await desk.running()
        for number in range(1, 25):
            await desk.report(job, number=number, events=(LOG,) * 40)
            story = await desk.store.story(job.id)
            assert story is not None
            kept, last = [event.seq for event in story.events], story.job.seq
            assert len(kept) >= min(most, last)
            assert kept == list(range(last - len(kept) + 1, last + 1))
            assert story.gap is (kept[0] > 1)

    async def test_a_reader_near_the_end_has_no_gap(self, open_desk: OpenDesk) -> None:
        desk = await open_desk(max_events=20)
        job = await desk.running()
        await _log_lines(desk, job, 500)
        now = await desk.look(job)
        story = await desk.store.story(job.id, after=now.seq - 20)
        assert story is not None
        assert not story.gap
        assert len(story.events) == 20

    async def test_a_store_forgets_events_beyond_the_ones_it_must_keep(self, open_desk: OpenDesk) -> None:
        desk = await open_desk(max_events=20)
        job = await desk.running()
        await _log_lines(desk, job, 5000)
        assert len(await desk.events(job)) < 5000

    async def test_events_at_once_are_numbered_without_a_gap(self, desk: Desk) -> None:
        job = await desk.running()
        await asyncio.gather(
            *(desk.report(job, number=1, progress=5, events=(LOG, LOG)) for _ in range(5)),
            desk.store.cancel([job.id]),
            desk.extend(job),
            desk.finish(job),
        )
        ended = await desk.look(job)
        assert [event.seq for event in await desk.events(job)] == list(range(1, ended.seq + 1))

    # published

    async def test_the_log_tells_every_event_once_and_in_order(self, desk: Desk) -> None:
        position = await desk.position()
        first, second = await _long_life(desk), await _long_life(desk)
        told = await desk.told_since(position)
        for job in (first, second):
            own: list[Event] = [one.event for one in told if one.task_id == job.id]
            assert own == list(await desk.events(job))
        assert len(told) == first.seq + second.seq

    async def test_what_is_told_names_its_job_and_its_channels(self, desk: Desk) -> None:
        position = await desk.position()
        job = await desk.enqueue(task="resize", queue="media", topic="t", user="u")
        (told,) = await desk.told_since(position)
        assert (told.task_id, told.task, told.queue) == (job.id, "resize", "media")
        assert (told.topic, told.user) == ("t", "u")

    async def test_from_now_on_tells_nothing_of_before(self, desk: Desk) -> None:
        await desk.enqueue()
        now = await desk.store.published(None, wait=600)
        assert (now.told, now.gap) == ((), False)
        job = await desk.enqueue()
        assert [one.task_id for one in await desk.told_since(now.position)] == [job.id]

    async def test_nothing_new_is_answered_after_the_wait_with_the_same_position(self, desk: Desk) -> None:
        await desk.enqueue()
        position = await desk.position()
        for wait in (0, 0.01):
            part = await desk.store.published(position, wait=wait)
            assert (part.position, part.told, part.gap) == (position, (), False)

    async def test_a_reader_that_waits_is_woken(self, desk: Desk) -> None:
        position = await desk.position()
        waiting = asyncio.create_task(desk.store.published(position, wait=600))
        await asyncio.sleep(0)
        job = await desk.enqueue()
        part = await asyncio.wait_for(waiting, SOON)
        assert [one.task_id for one in part.told] == [job.id]

    async def test_a_position_can_be_read_from_again(self, desk: Desk) -> None:
        position = await desk.position()
        await desk.insert(*desk.jobs.several(30))
        assert await desk.told_since(position) == await desk.told_since(position)

    async def test_a_long_log_is_read_to_its_end(self, desk: Desk) -> None:
        position = await desk.position()
        for _ in range(5):
            await desk.insert(*desk.jobs.several(500))
        told = await desk.told_since(position)
        assert len({one.task_id for one in told}) == len(told) == 2500

    async def test_a_log_that_forgot_something_says_so(self, desk: Desk, clock: FakeClock) -> None:
        position = await desk.position()
        await desk.insert(*desk.jobs.several(50))
        clock.advance(100_000_000)
        await desk.store.prune(limit=1000)
        part = await desk.store.published(position, wait=0)
        assert part.gap or len(await desk.told_since(position)) == 50
        assert await desk.told_since(part.position) == []

    async def test_a_reader_that_is_cancelled_loses_nothing(self, desk: Desk) -> None:
        position = await desk.position()
        waiting = asyncio.create_task(desk.store.published(position, wait=600))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await desk.enqueue()
        assert len(await desk.told_since(position)) == 1

    async def test_only_what_changed_something_is_told(self, desk: Desk) -> None:
        job = await desk.running()
        position = await desk.position()
        await desk.extend(job)
        await desk.store.get([job.id])
        await desk.store.promote(limit=10)
        await desk.store.rescue(limit=10)
        await desk.store.prune(limit=10)
        await desk.claim(job)
        await desk.store.undelivered(empty=["default"], age=0, limit=10)
        assert await desk.told_since(position) == []
